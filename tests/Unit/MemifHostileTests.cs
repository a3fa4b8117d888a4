using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Peers that break the rules, one rule at a time.</summary>
public sealed unsafe partial class MemifHostileTests : IDisposable
{
    private readonly DriverRig _rig = new(Drivers.All, [], TimeSpan.FromMilliseconds(600));
    private readonly string _socket = $"dp-memif-{Guid.NewGuid():N}";

    public void Dispose()
    {
        _rig.Stop();
        _rig.AssertAllBack("stopped");
        _rig.Dispose();
    }

    /// <summary>The bytes on the wire, by the published layout.</summary>
    [Fact]
    public void Server_Greets_WithThePublishedBytes()
    {
        StartServer();
        using MemifPeer peer = MemifPeer.ConnectTo(_socket);
        MemifMessage hello = peer.Receive()!.Value;
        byte[] bytes = new Span<byte>(&hello, sizeof(MemifMessage)).ToArray();
        Assert.Equal([2, 0], bytes[..2]);
        Assert.Equal("Dataplane\0"u8.ToArray(), bytes[2..12]);
        Assert.Equal([0, 2, 0, 2, 255, 0, 0, 0, 0, 0, 14], bytes[34..45]);   // 2.0 to 2.0, regions, rings, ring size
        Assert.All(bytes[45..], b => Assert.Equal(0, b));
        byte[] init = new byte[128];
        init[0] = 3;
        init[3] = 2;
        Assert.True(peer.SendBytes(init));
        Assert.Equal(MemifMessageType.Ack, peer.Receive()!.Value.Type);
    }

    [Fact]
    public void Client_SaysHello_WithThePublishedBytes()
    {
        using UnixSocket listener = UnixSocket.Listen("@" + _socket, Socket.SOCK_SEQPACKET);
        Port client = _rig.Ports.Attach($"net_memif0,socket={_socket},id=0x01020304,secret=abc,rsize=5");
        client.Start(new PortConfig(), _rig.Pool);
        using MemifPeer peer = MemifPeer.Accept(listener);
        Assert.True(peer.Send(MemifPeer.Hello()));
        byte[] init = Bytes(peer);
        Assert.Equal([3, 0, 0, 2, 4, 3, 2, 1, 0, 97, 98, 99, 0], init[..13]);
        Assert.Equal("Dataplane\0"u8.ToArray(), init[33..43]);
        byte[] region = Next(peer);
        Assert.Equal([4, 0, 0, 0], region[..4]);
        Assert.Equal((ulong)RandomAccess.GetLength(peer.Files[0]), BitConverter.ToUInt64(region, 4));
        Assert.NotEqual(0, Fcntl.fcntl(peer.Files[0], Fcntl.F_GET_SEALS, 0) & Fcntl.F_SEAL_SHRINK);
        Assert.Equal([5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0], Next(peer)[..15]);
        byte[] ring = Next(peer);
        Assert.Equal([5, 0, 0, 0, 0, 0, 0, 0], ring[..8]);
        Assert.Equal(128u + 16 * 32, BitConverter.ToUInt32(ring, 8));
        byte[] connect = Next(peer);
        Assert.Equal([6, 0], connect[..2]);
        Assert.Equal("net_memif0\0"u8.ToArray(), connect[2..13]);
        Assert.False(client.GetLink().Up);
        Assert.True(peer.Send(new MemifMessage { Type = MemifMessageType.Connected }));
        Assert.True(Wait(() => client.GetLink().Up));
    }

    /// <param name="args">More arguments of the client.</param>
    /// <param name="sends">The ring is the one that it sends with.</param>
    [Theory]
    [InlineData("", true)]
    [InlineData("", false)]
    [InlineData(",zero-copy=yes", true)]
    [InlineData(",zero-copy=yes", false)]
    public void Client_ServersIndexBeyondTheRing_ConnectionEnds(string args, bool sends)
    {
        using UnixSocket listener = UnixSocket.Listen("@" + _socket, Socket.SOCK_SEQPACKET);
        Port client = _rig.Ports.Attach($"net_memif0,socket={_socket},rsize=2{args}");
        client.Start(new PortConfig(), _rig.Pool);
        using MemifPeer peer = MemifPeer.Accept(listener);
        Assert.True(peer.Send(MemifPeer.Hello()));
        MemifMessage message;
        ulong bytes = 0, at = 0;
        do
        {
            message = peer.Receive()!.Value;
            if (message.Type == MemifMessageType.AddRegion && message.RegionIndex == 0)
                bytes = message.RegionSize;
            if (message.Type == MemifMessageType.AddRing && message.RingFlags != 0 == sends)
                at = message.RingOffset;
            Assert.True(peer.Send(new MemifMessage
            {
                Type = message.Type == MemifMessageType.Connect ? MemifMessageType.Connected : MemifMessageType.Ack,
            }));
        }
        while (message.Type != MemifMessageType.Connect);
        Assert.True(Wait(() => client.GetLink().Up));
        void* memory = Mman.mmap(null, (nuint)bytes, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED,
            Socket.Fd(peer.Files[0]), 0);
        Assert.True(memory != Mman.MAP_FAILED);
        ((MemifRingHeader*)((byte*)memory + at))->Tail = 5;   // of four descriptors
        Mbuf[] packets = [.. Enumerable.Range(0, 8).Select(_ => Make(60))];
        Assert.Equal(0, sends ? client.TxQueues[0].TxBurst(packets) : client.RxQueues[0].RxBurst(new Mbuf[8]));
        Mbuf.FreeBulk(packets);
        Assert.True(Wait(() => !client.GetLink().Up));
        Assert.Equal(1ul, client.GetXstats().Single(x => x.Name == "memif_peer_faults").Value);
        _ = Mman.munmap(memory, (nuint)bytes);
    }

    public static IEnumerable<ITheoryDataRow> BadStepNames =>
        s_badSteps.Select(step => new TheoryDataRow<string>(step.Name));

    [Theory]
    [MemberData(nameof(BadStepNames))]
    public void Server_BadStep_RefusedWithAReasonAndTheNextClientConnects(string step)
    {
        Port server = StartServer();
        using (MemifPeer peer = MemifPeer.ConnectTo(_socket))
        {
            peer.MakeMemory();
            peer.WriteRings();
            string? reason = s_badSteps.Single(bad => bad.Name == step).Take(peer);
            Assert.False(string.IsNullOrEmpty(reason), $"'{step}' was not refused with a reason");
            Assert.Null(peer.Receive());    // and closed
        }
        Assert.False(server.GetLink().Up);
        using MemifPeer good = Connected(server);
        Assert.Equal(60, PutAndReceive(server, good).Length);
    }

    [Theory]
    [InlineData(Mman.MFD_CLOEXEC, 0, "no", false)]     // cannot be sealed: it could be cut short at any time
    [InlineData(Mman.MFD_CLOEXEC, 0, "yes", true)]
    [InlineData(Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING, 0, "no", true)]
    [InlineData(Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING, Fcntl.F_SEAL_SEAL, "no", false)]
    public void Server_MemoryThatCanBeCutShort_TakenOnlyWhenTrusted(uint flags, int seals, string trust, bool taken)
    {
        Port server = StartServer($",trust={trust}");
        using MemifPeer peer = MemifPeer.ConnectTo(_socket);
        peer.MakeMemory(MemifPeer.DefaultBytes, seals, flags);
        Assert.Equal(taken, peer.Handshake());
        if (!taken || trust == "yes")
            return;
        Assert.NotEqual(0, Fcntl.ftruncate(peer.Region!, 0));   // the server has sealed it
        Assert.Equal(60, PutAndReceive(server, peer).Length);
    }

    private static readonly (string Name, Action<MemifPeer> Write)[] s_badRings =
    [
        ("head beyond the ring", peer => peer.ToServer->Head = MemifPeer.Size + 1),
        ("head before the tail", peer => peer.ToServer->Head = ushort.MaxValue),
        ("head of buffers beyond the ring", peer => peer.ToClient->Head = MemifPeer.Size + 1),
        ("region that is not there", peer => Offer(peer, new MemifDesc { Region = 1, Length = 60 })),
        ("largest region", peer => Offer(peer, new MemifDesc { Region = ushort.MaxValue, Length = 60 })),
        ("offset beyond the region", peer => Offer(peer, new MemifDesc
        {
            Offset = (uint)MemifPeer.DefaultBytes, Length = 60,
        })),
        ("end beyond the region", peer => Offer(peer, new MemifDesc
        {
            Offset = (uint)MemifPeer.DefaultBytes - 59, Length = 60,
        })),
        ("end beyond 2^32", peer => Offer(peer, new MemifDesc { Offset = uint.MaxValue, Length = 60 })),
        ("length of 2^32 - 1", peer => Offer(peer, new MemifDesc { Offset = 4096, Length = uint.MaxValue })),
        ("second piece beyond the region", peer => Offer(peer, new MemifDesc
        {
            Flags = MemifProtocol.DescFlagNext, Offset = 4096, Length = 60,
        }, new MemifDesc { Offset = uint.MaxValue, Length = 1 })),
        ("packet without an end", peer => Offer(peer, [.. Enumerable.Repeat(new MemifDesc
        {
            Flags = MemifProtocol.DescFlagNext, Offset = 4096, Length = 1,
        }, MemifPeer.Size)])),
        ("buffer beyond the region", peer => Supply(peer, new MemifDesc
        {
            Offset = (uint)MemifPeer.DefaultBytes - 1, Length = 2048,
        })),
        ("buffer in no region", peer => Supply(peer, new MemifDesc { Region = 9, Length = 2048 })),
        ("buffer of no bytes", peer => Supply(peer, new MemifDesc { Offset = 4096 })),
    ];

    public static IEnumerable<ITheoryDataRow> BadRingNames =>
        s_badRings.Select(ring => new TheoryDataRow<string>(ring.Name));

    [Theory]
    [MemberData(nameof(BadRingNames))]
    public void Server_BadRing_DisconnectsAndTheNextClientConnects(string bad)
    {
        Port server = StartServer();
        using (MemifPeer peer = Connected(server))
        {
            s_badRings.Single(ring => ring.Name == bad).Write(peer);
            var burst = new Mbuf[8];
            Assert.Equal(0, server.RxQueues[0].RxBurst(burst));
            Mbuf packet = Make(60);
            if (server.TxQueues[0].TxBurst([packet]) == 0)
                packet.Free();
            Assert.Equal("Ring is corrupt", peer.ReceiveDisconnect());
        }
        Assert.True(Wait(() => !server.GetLink().Up));
        Assert.Equal(1ul, server.GetXstats().Single(x => x.Name == "memif_peer_faults").Value);
        using MemifPeer good = Connected(server);
        Assert.Equal(60, PutAndReceive(server, good).Length);
    }

    [Fact]
    public void Server_PacketsItCannotTake_AreCountedAndTheNextArrive()
    {
        Port server = StartServer();
        using MemifPeer peer = Connected(server);
        Offer(peer, new MemifDesc { Offset = 4096 }, new MemifDesc { Offset = 4096, Length = 2049 },
            new MemifDesc { Offset = 4096, Length = 61 },
            new MemifDesc { Offset = 4096, Length = 2000, Flags = MemifProtocol.DescFlagNext },
            new MemifDesc { Offset = 4096, Length = 49 },
            new MemifDesc { Offset = 4096, Length = 60, Flags = MemifProtocol.DescFlagNext },
            new MemifDesc { Offset = 4096, Length = 2 });
        var burst = new Mbuf[8];
        Assert.Equal(2, server.RxQueues[0].RxBurst(burst));
        Assert.Equal((61, 62), (burst[0].PacketLength, burst[1].PacketLength));
        Mbuf.FreeBulk(burst.AsSpan(0, 2));
        Assert.Equal((3ul, 2ul), (server.GetStats().RxErrors, server.GetStats().RxPackets));
        Assert.Equal(7, peer.ToServer->Tail);
    }

    [Fact]
    public void Server_PieceOfAPacketMissing_WaitsForIt()
    {
        Port server = StartServer();
        using MemifPeer peer = Connected(server);
        Offer(peer, new MemifDesc { Offset = 4096, Length = 60, Flags = MemifProtocol.DescFlagNext });
        var burst = new Mbuf[8];
        Assert.Equal(0, server.RxQueues[0].RxBurst(burst));
        MemifPeer.Descs(peer.ToServer)[1].Length = 40;
        peer.ToServer->Head = 2;
        Assert.Equal(1, server.RxQueues[0].RxBurst(burst));
        Assert.Equal(100, burst[0].PacketLength);
        burst[0].Free();
    }

    [Fact]
    public void Server_ManyWhoSayNothing_OneWhoDoesConnects()
    {
        Port server = StartServer();
        List<MemifPeer> silent = [.. Enumerable.Range(0, 100).Select(_ =>
        {
            MemifPeer peer = MemifPeer.ConnectTo(_socket);
            Assert.Equal(MemifMessageType.Hello, peer.Receive()!.Value.Type);
            return peer;
        })];
        using MemifPeer good = Connected(server);
        Assert.Equal(60, PutAndReceive(server, good).Length);
        silent.ForEach(peer => peer.Dispose());
    }

    /// <summary>A connection that goes while both queues are in it takes nothing from under them.</summary>
    [Fact]
    public void Server_PeerVanishesInMidBurst_NothingIsLost()
    {
        Port server = StartServer();
        bool stop = false;
        var polling = new Thread(() =>
        {
            var burst = new Mbuf[32];
            while (!Volatile.Read(ref stop))
            {
                Mbuf.FreeBulk(burst.AsSpan(0, server.RxQueues[0].RxBurst(burst)));
                Mbuf packet = Make(500);
                if (server.TxQueues[0].TxBurst([packet]) == 0)
                    packet.Free();
            }
        });
        polling.Start();
        for (int round = 0; round < 200; round++)
        {
            using MemifPeer peer = Connected(server);
            peer.ToClient->Head = MemifPeer.Size;
            Volatile.Write(ref peer.ToServer->Head, MemifPeer.Size);
            Assert.True(Wait(() => Volatile.Read(ref peer.ToServer->Tail) > 0), "the server reads no more");
        }
        Volatile.Write(ref stop, true);
        polling.Join();
        Assert.Equal(200ul, server.GetXstats().Single(x => x.Name == "memif_connections").Value);
    }

    private Port StartServer(string args = "")
    {
        Port server = _rig.Ports.Attach($"net_memif0,role=server,socket={_socket}{args}");
        server.Start(new PortConfig(), _rig.Pool, 128);
        return server;
    }

    private MemifPeer Connected(Port server)
    {
        MemifPeer peer = MemifPeer.Connected(_socket);
        Assert.True(server.GetLink().Up);
        return peer;
    }

    private static byte[] PutAndReceive(Port server, MemifPeer peer)
    {
        new Span<byte>(peer.Memory + 4096, 60).Fill(0xa5);
        Offer(peer, new MemifDesc { Offset = 4096, Length = 60 });
        var burst = new Mbuf[2];
        Assert.Equal(1, server.RxQueues[0].RxBurst(burst));
        byte[] bytes = DriverRig.BytesOf(burst[0]);
        burst[0].Free();
        Assert.All(bytes, b => Assert.Equal(0xa5, b));
        return bytes;
    }

    private static void Offer(MemifPeer peer, params MemifDesc[] descs)
    {
        for (int i = 0; i < descs.Length; i++)
            MemifPeer.Descs(peer.ToServer)[i] = descs[i];
        Volatile.Write(ref peer.ToServer->Head, (ushort)descs.Length);
    }

    private static void Supply(MemifPeer peer, MemifDesc desc)
    {
        MemifPeer.Descs(peer.ToClient)[0] = desc;
        Volatile.Write(ref peer.ToClient->Head, 1);
    }

    private Mbuf Make(int bytes)
    {
        Mbuf mbuf = _rig.Pool.Alloc();
        Assert.False(mbuf.Append(bytes) == null);
        return mbuf;
    }

    private static byte[] Bytes(MemifPeer peer)
    {
        MemifMessage message = peer.Receive()!.Value;
        return new Span<byte>(&message, sizeof(MemifMessage)).ToArray();
    }

    private static byte[] Next(MemifPeer peer)
    {
        Assert.True(peer.Send(new MemifMessage { Type = MemifMessageType.Ack }));
        return Bytes(peer);
    }

    private static bool Wait(Func<bool> condition) => SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60));
}
