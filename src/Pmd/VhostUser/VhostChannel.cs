using System.Diagnostics;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// Messages of the vhost-user protocol over a Unix socket, for either end. Control path, one thread at a time. Whatever
/// the other end sends is bounded: a message is at most <see cref="MaxPayload"/> bytes and <see cref="MaxFiles"/>
/// files, comes in pieces of any size, and what breaks these rules is an exception that ends the connection.
/// </summary>
internal sealed unsafe class VhostChannel(UnixSocket socket) : IDisposable
{
    /// <summary>Most bytes behind a header. The largest message there is, a memory table, has 264.</summary>
    internal const int MaxPayload = 1024;

    /// <summary>Most files with a message: one per region.</summary>
    internal const int MaxFiles = VhostUser.MaxRegions;

    private readonly byte[] _buffer = new byte[sizeof(VhostMessageHeader) + MaxPayload];
    private SafeFileHandle? _wait;
    private int _have;
    private bool _done;   // what is in the buffer was handed out

    /// <summary>The socket, to wait for.</summary>
    internal SafeFileHandle Handle => socket.Handle;

    /// <summary>The message last read.</summary>
    internal VhostMessageHeader Header => MemoryMarshal.Read<VhostMessageHeader>(_buffer);

    /// <summary>What followed its header. Until the next is read.</summary>
    internal ReadOnlySpan<byte> Payload => _buffer.AsSpan(sizeof(VhostMessageHeader), (int)Header.Size);

    /// <summary>Files that came with it; whoever keeps one takes it out of the list.</summary>
    internal List<SafeFileHandle> Files { get; } = [];

    /// <summary>Reads on.</summary>
    /// <returns>True when a message is there.</returns>
    /// <exception cref="DataplaneException">The other end is gone, or broke the rules.</exception>
    internal bool TryRead()
    {
        if (_done)
            Forget();
        while (true)
        {
            int need = sizeof(VhostMessageHeader);
            if (_have >= need)
                need += CheckedSize();
            if (_have == need)
                return _done = true;
            int got = socket.Receive(_buffer.AsSpan(_have, need - _have), Files);
            if (Files.Count > MaxFiles)
                throw Broken($"{Files.Count} files came with one message");
            if (got < 0)
                return false;
            if (got == 0)
                throw new DeviceException("the other end closed the connection");
            _have += got;
        }
    }

    /// <summary>What the payload begins with.</summary>
    /// <exception cref="DataplaneException">It is shorter.</exception>
    internal T Read<T>() where T : unmanaged => Payload.Length >= sizeof(T) ? MemoryMarshal.Read<T>(Payload)
        : throw Broken($"{Header.Request} has {Payload.Length} bytes");

    /// <summary>Takes the file of a message.</summary>
    /// <exception cref="DataplaneException">There is none, or more.</exception>
    internal SafeFileHandle TakeFile()
    {
        if (Files.Count != 1)
            throw Broken($"{Files.Count} files came with {Header.Request}");
        SafeFileHandle file = Files[0];
        Files.Clear();
        return file;
    }

    /// <summary>Sends a message.</summary>
    /// <exception cref="DataplaneException">The other end is gone, or does not read.</exception>
    internal void Send(VhostRequest request, uint flags, ReadOnlySpan<byte> payload, params ReadOnlySpan<int> files)
    {
        Span<byte> message = stackalloc byte[sizeof(VhostMessageHeader) + payload.Length];
        var header = new VhostMessageHeader
            { Request = request, Flags = flags | VhostUser.Version, Size = (uint)payload.Length };
        MemoryMarshal.Write(message, in header);
        payload.CopyTo(message[sizeof(VhostMessageHeader)..]);
        // So little fits into any socket at once, unless the other end does not read.
        if (socket.Send(message, files) != message.Length)
            throw Broken("it does not read what it is sent");
    }

    /// <summary>The same with a value for payload.</summary>
    internal void Send<T>(VhostRequest request, uint flags, T value, params ReadOnlySpan<int> files) where T : unmanaged
        => Send(request, flags, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)), files);

    /// <summary>Waits for the answer to a request.</summary>
    /// <exception cref="DataplaneException">None in time, or another message came.</exception>
    internal void WaitReply(VhostRequest request, int timeoutMs)
    {
        if (_wait == null)
        {
            _wait = Epoll.Create();
            Epoll.Add(_wait, Handle, 0);
        }
        Span<epoll_event> one = stackalloc epoll_event[1];
        long start = Stopwatch.GetTimestamp();
        while (!TryRead())
        {
            int left = timeoutMs - (int)Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            if (left <= 0)
                throw Broken($"it did not answer {request} in {timeoutMs} ms");
            Epoll.Wait(_wait, one, left);
        }
        if (Header.Request != request || (Header.Flags & VhostUser.Reply) == 0)
            throw Broken($"it answered {request} with {Header.Request}, flags 0x{Header.Flags:x}");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Forget();
        _wait?.Dispose();
        socket.Dispose();
    }

    /// <summary>A rule of the protocol was broken.</summary>
    internal static DeviceException Broken(string how) => new("the other end breaks the rules of vhost-user", how);

    private int CheckedSize()
    {
        VhostMessageHeader header = Header;
        if ((header.Flags & VhostUser.VersionMask) != VhostUser.Version)
            throw Broken($"a message has version {header.Flags & VhostUser.VersionMask}");
        return header.Size <= MaxPayload ? (int)header.Size : throw Broken($"a message has {header.Size} bytes");
    }

    private void Forget()
    {
        foreach (SafeFileHandle file in Files)
            file.Dispose();
        Files.Clear();
        _have = 0;
        _done = false;
    }
}
