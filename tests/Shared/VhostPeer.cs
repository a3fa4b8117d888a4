using System.Runtime.InteropServices;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>What is said to a vhost-user end, right or wrong.</summary>
internal sealed record VhostMessage(VhostRequest Request, byte[] Payload, params SafeFileHandle[] Files)
{
    internal static VhostMessage Of<T>(VhostRequest request, T value, params SafeFileHandle[] files) where T : unmanaged
        => new(request, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray(), files);

    internal byte[] Bytes(uint flags = VhostUser.Version)
    {
        var bytes = new byte[12 + Payload.Length];
        MemoryMarshal.Write(bytes, new VhostMessageHeader
            { Request = Request, Flags = flags, Size = (uint)Payload.Length });
        Payload.CopyTo(bytes, 12);
        return bytes;
    }
}

/// <summary>
/// The other end of a vhost-user connection, which says and writes whatever a test wants. As a front end it shares two
/// pieces of a file, one for two rings and one for buffers; what lies around and between them holds
/// <see cref="Canary"/> and is not shared, though whoever maps the file can touch it.
/// </summary>
internal sealed unsafe class VhostPeer : IDisposable
{
    internal const int BuffersBytes = 0x4_0000;
    internal const ulong RingsAt = 0x7_0000_0000, BuffersAt = 0x3_0000_0000;
    internal const byte Canary = 0x5c;

    /// <summary>Where the shared buffers are in the file.</summary>
    internal const int BuffersFrom = RingsFrom + RingsBytes + Page;

    /// <summary>The peer's own addresses, those of rings, are others than those in descriptors.</summary>
    internal const ulong UserFromGuest = 0x1000_0000_0000;

    private const int Page = 4096, RingsBytes = 2 * VhostPeerRing.Bytes, PatienceMs = 60_000;
    private const int RingsFrom = Page;
    private const int FileBytes = BuffersFrom + BuffersBytes + Page;

    private readonly UnixSocket _socket;
    private readonly SafeFileHandle _set = Epoll.Create();

    internal VhostPeer(UnixSocket socket)
    {
        _socket = socket;
        Channel = new VhostChannel(socket);
        Rings = [];
        Epoll.Add(_set, socket.Handle, 0);
    }

    /// <summary>Reads what the other end says.</summary>
    internal VhostChannel Channel { get; }

    /// <summary>An eventfd.</summary>
    internal SafeFileHandle Signal { get; } = Eventfd.Create();

    /// <summary>The shared file, once there is one.</summary>
    internal SafeFileHandle File { get; private set; } = new();

    /// <summary>The whole of it here.</summary>
    internal byte* Memory { get; private set; }

    /// <summary>Ring 0, which the peer receives with, and 1, which it sends with.</summary>
    internal VhostPeerRing[] Rings { get; private set; }

    /// <summary>The shared buffers.</summary>
    internal Span<byte> Buffers => new(Memory + BuffersFrom, BuffersBytes);

    /// <summary>Connects as a front end, with memory and rings.</summary>
    internal static VhostPeer ConnectTo(string path, bool packed)
    {
        var peer = new VhostPeer(UnixSocket.Connect(path, Socket.SOCK_STREAM));
        peer.MakeMemory(packed);
        return peer;
    }

    /// <summary>Sends bytes and files; false when the other end is gone, or reads no more.</summary>
    internal bool SendBytes(ReadOnlySpan<byte> bytes, params SafeFileHandle[] files)
    {
        try
        {
            return _socket.Send(bytes, [.. files.Select(Socket.Fd)]) == bytes.Length;
        }
        catch (NativeException e) when (e.Errno is Errno.EPIPE or Errno.ECONNRESET)
        {
            return false;
        }
    }

    internal bool Send(VhostMessage message, uint flags = VhostUser.Version) =>
        SendBytes(message.Bytes(flags), message.Files);

    /// <summary>Waits for a message; false where none comes in time.</summary>
    internal bool WaitMessage(int timeoutMs)
    {
        if (Channel.TryRead())
            return true;
        Span<epoll_event> one = stackalloc epoll_event[1];
        Epoll.Wait(_set, one, timeoutMs);
        return Channel.TryRead();
    }

    /// <summary>Sends a request and waits for its answer; null when the other end is gone.</summary>
    internal ulong? Ask(VhostMessage message, uint flags = VhostUser.Version)
    {
        try
        {
            if (!Send(message, flags))
                return null;
            Channel.WaitReply(message.Request, PatienceMs);
            return Channel.Read<ulong>();
        }
        catch (DataplaneException)
        {
            return null;
        }
    }

    /// <summary>Sends a message that must be taken.</summary>
    internal void Tell(VhostMessage message) =>
        Assert.Equal(0ul, Ask(message, VhostUser.Version | VhostUser.NeedReply));

    /// <summary>All a front end says until packets flow, with these features where they are offered.</summary>
    internal IEnumerable<VhostMessage> Script(ulong features)
    {
        yield return new(VhostRequest.SetOwner, []);
        yield return VhostMessage.Of(VhostRequest.SetProtocolFeatures, VhostPort.ProtocolFeatures);
        yield return VhostMessage.Of(VhostRequest.SetFeatures, features);
        yield return MemoryTable();
        foreach (uint ring in (uint[])[0, 1])
            foreach (VhostMessage message in RingScript(ring))
                yield return message;
        yield return VhostMessage.Of(VhostRequest.SetStatus, 15ul);
        foreach (uint ring in (uint[])[0, 1])
            yield return VhostMessage.Of(VhostRequest.SetVringEnable, new vhost_vring_state { index = ring, num = 1 });
    }

    /// <summary>What may come at any time besides.</summary>
    internal IEnumerable<VhostMessage> Others()
    {
        yield return new(VhostRequest.GetFeatures, []);
        yield return new(VhostRequest.GetProtocolFeatures, []);
        yield return new(VhostRequest.GetQueueNum, []);
        yield return new(VhostRequest.GetStatus, []);
        yield return VhostMessage.Of(VhostRequest.SetVringErr, 0ul, Signal);
        yield return VhostMessage.Of(VhostRequest.SetVringErr, VhostUser.NoFile | 1);
        yield return VhostMessage.Of(VhostRequest.GetVringBase, new vhost_vring_state { index = 1 });
        yield return VhostMessage.Of(VhostRequest.NetSetMtu, 1500ul);
        yield return VhostMessage.Of(VhostRequest.GetInflightFd, new VhostInflightDescription
            { Queues = 2, QueueSize = VhostPeerRing.Size });
        yield return VhostMessage.Of(VhostRequest.SetInflightFd, new VhostInflightDescription
            { Bytes = 8192, FileOffset = BuffersFrom, Queues = 2, QueueSize = VhostPeerRing.Size }, File);
        yield return new(VhostRequest.ResetDevice, []);
        yield return VhostMessage.Of(VhostRequest.SetLogBase, 1ul, File);
        yield return MemoryTable() with { Payload = new byte[8], Files = [] };
    }

    /// <summary>Does as a good front end does, up to the link.</summary>
    internal void Handshake(ulong features)
    {
        ulong offered = Ask(new(VhostRequest.GetFeatures, [])) ?? 0;
        foreach (VhostMessage message in Script(features & offered))
            if (message.Request is VhostRequest.SetOwner or VhostRequest.SetProtocolFeatures)
                Assert.True(Send(message));
            else
                Tell(message);
    }

    /// <summary>Stops a ring and starts it from nothing.</summary>
    internal void Restart(int index)
    {
        var state = new vhost_vring_state { index = (uint)index };
        Assert.NotNull(Ask(VhostMessage.Of(VhostRequest.GetVringBase, state)));
        Rings[index].Reset();
        foreach (VhostMessage message in RingScript((uint)index))
            Tell(message);
    }

    /// <summary>Goes on with a ring that was stopped.</summary>
    internal void Resume(int index, uint from)
    {
        foreach (VhostMessage message in RingScript((uint)index))
            Tell(message.Request != VhostRequest.SetVringBase ? message : VhostMessage.Of(VhostRequest.SetVringBase,
                new vhost_vring_state { index = (uint)index, num = from }));
    }

    /// <summary>Nothing was written beside what is shared.</summary>
    internal void AssertCanaries()
    {
        foreach (int at in (int[])[0, RingsFrom + RingsBytes, BuffersFrom + BuffersBytes])
            Assert.True(new Span<byte>(Memory + at, Page).IndexOfAnyExcept(Canary) < 0,
                "it wrote outside what is shared");
    }

    public void Dispose()
    {
        Channel.Dispose();
        Signal.Dispose();
        _set.Dispose();
        File.Dispose();
        if (Memory != null)
            _ = Mman.munmap(Memory, FileBytes);
        Memory = null;
    }

    internal void MakeMemory(bool packed)
    {
        File = Mman.memfd_create("vhost-peer", Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING);
        Assert.False(File.IsInvalid);
        Assert.Equal(0, Fcntl.ftruncate(File, FileBytes));
        void* at = Mman.mmap(null, FileBytes, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED, Socket.Fd(File), 0);
        Assert.True(at != Mman.MAP_FAILED);
        Memory = (byte*)at;
        new Span<byte>(at, FileBytes).Fill(Canary);
        Buffers.Fill(0xa5);
        Rings = [Ring(0), Ring(1)];

        VhostPeerRing Ring(int index) => new(Memory + RingsFrom + index * VhostPeerRing.Bytes,
            RingsAt + (ulong)index * VhostPeerRing.Bytes, packed, writable: index == 0);
    }

    /// <summary>What it shares, and more where a test has more to say.</summary>
    internal VhostMessage MemoryTable(params (VhostRegion Region, SafeFileHandle File)[] more)
    {
        VhostRegion[] regions = [Region(RingsAt, RingsBytes, RingsFrom), Region(BuffersAt, BuffersBytes, BuffersFrom),
            .. more.Select(one => one.Region)];
        return new(VhostRequest.SetMemTable, [(byte)regions.Length, 0, 0, 0, 0, 0, 0, 0,
            .. MemoryMarshal.AsBytes<VhostRegion>(regions)], [File, File, .. more.Select(one => one.File)]);

        static VhostRegion Region(ulong guest, ulong bytes, ulong from) => new()
            { GuestAddress = guest, UserAddress = guest + UserFromGuest, Bytes = bytes, FileOffset = from };
    }

    private IEnumerable<VhostMessage> RingScript(uint index)
    {
        ulong at = RingsAt + UserFromGuest + index * VhostPeerRing.Bytes;
        var state = new vhost_vring_state { index = index };
        yield return VhostMessage.Of(VhostRequest.SetVringNum, state with { num = VhostPeerRing.Size });
        yield return VhostMessage.Of(VhostRequest.SetVringBase, state with { num = Rings[index].Start });
        yield return VhostMessage.Of(VhostRequest.SetVringAddr, new vhost_vring_addr
        {
            index = index, desc_user_addr = at, avail_user_addr = at + VhostPeerRing.DriverAt,
            used_user_addr = at + VhostPeerRing.DeviceAt,
        });
        yield return VhostMessage.Of(VhostRequest.SetVringCall, (ulong)index, Signal);
        yield return VhostMessage.Of(VhostRequest.SetVringKick, (ulong)index, Signal);
    }
}
