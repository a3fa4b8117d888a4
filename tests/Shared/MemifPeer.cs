using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>The other end of a memif, which says and writes whatever a test wants.</summary>
internal sealed unsafe class MemifPeer : IDisposable
{
    /// <summary>Descriptors of the rings of <see cref="Handshake"/>, and bytes of their buffers.</summary>
    internal const int Log2Size = 6, Size = 1 << Log2Size, BufferBytes = 2048;

    /// <summary>Where the rings and the buffers of <see cref="Handshake"/> are.</summary>
    internal const uint ToServerAt = 0, ToClientAt = 2048, BuffersAt = 4096;

    internal const ulong DefaultBytes = BuffersAt + 2 * Size * BufferBytes;

    private readonly UnixSocket _socket;
    private readonly SafeFileHandle _set = Epoll.Create();
    private ulong _bytes;

    internal MemifPeer(UnixSocket socket)
    {
        _socket = socket;
        Epoll.Add(_set, socket.Handle, 0);
    }

    /// <summary>The files that came with messages.</summary>
    internal List<SafeFileHandle> Files { get; } = [];

    /// <summary>The region's file.</summary>
    internal SafeFileHandle? Region { get; private set; }

    /// <summary>The rings' eventfd.</summary>
    internal SafeFileHandle Signal { get; } = Eventfd.Create();

    /// <summary>The region here.</summary>
    internal byte* Memory { get; private set; }

    internal MemifRingHeader* ToServer => (MemifRingHeader*)(Memory + ToServerAt);

    internal MemifRingHeader* ToClient => (MemifRingHeader*)(Memory + ToClientAt);

    /// <summary>Connects to a server's abstract socket.</summary>
    internal static MemifPeer ConnectTo(string name) => new(UnixSocket.Connect("@" + name, Socket.SOCK_SEQPACKET));

    /// <summary>Connects as a client to a server that may still have the one before.</summary>
    internal static MemifPeer Connected(string name)
    {
        for (long start = Environment.TickCount64; Environment.TickCount64 - start < 60_000;)
        {
            MemifPeer peer = ConnectTo(name);
            if (peer.Handshake())
                return peer;
            peer.Dispose();
        }
        throw new TimeoutException("the server takes no connection");
    }

    /// <summary>Waits for a client.</summary>
    internal static MemifPeer Accept(UnixSocket listener)
    {
        UnixSocket? socket = null;
        Assert.True(SpinWait.SpinUntil(() => (socket = listener.Accept()) != null, TimeSpan.FromSeconds(60)));
        return new MemifPeer(socket!);
    }

    /// <summary>What a server greets with.</summary>
    internal static MemifMessage Hello() => new()
    {
        Type = MemifMessageType.Hello, MinVersion = MemifProtocol.Version, MaxVersion = MemifProtocol.Version,
        MaxRegion = 255, MaxLog2RingSize = 14,
    };

    /// <summary>Descriptors of a ring.</summary>
    internal static MemifDesc* Descs(MemifRingHeader* ring) => (MemifDesc*)(ring + 1);

    /// <summary>Sends a message; false when the other end is gone.</summary>
    internal bool Send(in MemifMessage message, params SafeFileHandle[] files)
    {
        fixed (MemifMessage* bytes = &message)
            return SendBytes(new ReadOnlySpan<byte>(bytes, sizeof(MemifMessage)), files);
    }

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

    /// <summary>The next message; null when the other end closed. Waits, as long as a busy machine may take.</summary>
    internal MemifMessage? Receive(int timeoutMs = 60_000)
    {
        Span<byte> bytes = stackalloc byte[MemifProtocol.MessageBytes + 1];
        Span<epoll_event> one = stackalloc epoll_event[1];
        for (long start = Environment.TickCount64; Environment.TickCount64 - start < timeoutMs;)
        {
            int count;
            try
            {
                count = _socket.Receive(bytes, Files);
            }
            catch (NativeException e) when (e.Errno == Errno.ECONNRESET)
            {
                return null;
            }
            if (count == 0)
                return null;
            if (count > 0)
            {
                Assert.Equal(MemifProtocol.MessageBytes, count);
                fixed (byte* first = bytes)
                    return *(MemifMessage*)first;
            }
            Epoll.Wait(_set, one, 100);
        }
        throw new TimeoutException("the other end says nothing");
    }

    /// <summary>What the other end gave as its reason to end the connection; null: it closed without one.</summary>
    internal string? ReceiveDisconnect()
    {
        while (Receive() is { } message)
            if (message.Type == MemifMessageType.Disconnect)
                return MemifChannel.GetText(message.Reason, MemifProtocol.ReasonBytes);
        return null;
    }

    /// <summary>Makes the memory.</summary>
    internal void MakeMemory(ulong bytes = DefaultBytes, int seals = Fcntl.F_SEAL_SHRINK,
        uint flags = Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING)
    {
        Region = Mman.memfd_create("memif-peer", flags);
        Assert.False(Region.IsInvalid);
        Assert.Equal(0, Fcntl.ftruncate(Region, (long)bytes));
        if (seals != 0)
            Assert.Equal(0, Fcntl.fcntl(Region, Fcntl.F_ADD_SEALS, seals));
        void* at = Mman.mmap(null, (nuint)bytes, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED, Socket.Fd(Region),
            0);
        Assert.True(at != Mman.MAP_FAILED);
        Memory = (byte*)at;
        _bytes = bytes;
    }

    internal static MemifMessage Init(uint id = 0, string secret = "")
    {
        var init = new MemifMessage
        {
            Type = MemifMessageType.Init, Version = MemifProtocol.Version, InterfaceId = id,
        };
        System.Text.Encoding.UTF8.GetBytes(secret, new Span<byte>(init.Secret, MemifProtocol.SecretBytes));
        return init;
    }

    internal static MemifMessage AddRegion(ulong bytes = DefaultBytes, ushort index = 0) =>
        new() { Type = MemifMessageType.AddRegion, RegionIndex = index, RegionSize = bytes };

    internal static MemifMessage AddRing(bool toServer, uint offset, byte log2 = Log2Size) => new()
    {
        Type = MemifMessageType.AddRing, RingFlags = toServer ? MemifProtocol.RingFlagClientToServer : (ushort)0,
        RingOffset = offset, Log2RingSize = log2,
    };

    /// <summary>Writes rings with a buffer in every slot, as a client does.</summary>
    internal void WriteRings()
    {
        foreach ((uint at, uint buffers) in ((uint, uint)[])[(ToServerAt, 0), (ToClientAt, Size)])
        {
            var ring = (MemifRingHeader*)(Memory + at);
            *ring = new MemifRingHeader { Cookie = MemifProtocol.Cookie };
            for (uint slot = 0; slot < Size; slot++)
                Descs(ring)[slot] = new MemifDesc
                {
                    Length = BufferBytes, Offset = BuffersAt + (buffers + slot) * BufferBytes,
                };
        }
    }

    /// <summary>Connects as a client with a ring each way.</summary>
    /// <returns>False when the server does not go along.</returns>
    internal bool Handshake(uint id = 0, string secret = "")
    {
        if (Memory == null)
            MakeMemory();
        WriteRings();
        if (Receive()?.Type != MemifMessageType.Hello)
            return false;
        return Ask(Init(id, secret)) && Ask(AddRegion(_bytes), Region!)
            && Ask(AddRing(true, ToServerAt), Signal) && Ask(AddRing(false, ToClientAt), Signal)
            && Send(new MemifMessage { Type = MemifMessageType.Connect })
            && Receive()?.Type == MemifMessageType.Connected;
    }

    /// <summary>Sends a message and waits for its Ack.</summary>
    internal bool Ask(in MemifMessage message, params SafeFileHandle[] files) =>
        Send(message, files) && Receive()?.Type == MemifMessageType.Ack;

    public void Dispose()
    {
        _socket.Dispose();
        _set.Dispose();
        Files.ForEach(file => file.Dispose());
        Region?.Dispose();
        Signal.Dispose();
        if (Memory != null)
            _ = Mman.munmap(Memory, (nuint)_bytes);
        Memory = null;
    }
}
