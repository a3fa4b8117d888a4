using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>
/// Peers that say and write anything: seeded, many, and beside them a port that must not notice. What a packet holds
/// tells where it was read from: the region holds one byte value everywhere, and nothing else in the process does.
/// </summary>
public sealed unsafe class MemifFuzzTests : IDisposable
{
    private const int PoolSize = 2048, Messages = 100_000, Rings = 100_000;
    private const byte Filling = 0xa5;

    private readonly Eal _eal = Eal.Initialize(new EalOptions
    {
        NoHuge = true, NoPci = true, LogLevel = LogSeverity.Critical,
    });
    private readonly PortList _ports;
    private readonly Mempool _pool;
    private readonly string _socket = $"dp-memif-{Guid.NewGuid():N}";
    private readonly Random _random = new(20260131);
    private Port _bystander = null!, _other = null!;

    public MemifFuzzTests()
    {
        _ports = new PortList(_eal, Drivers.All);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "p", PoolSize, cacheSize: 0);
    }

    public void Dispose()
    {
        foreach (Port port in _ports.Ports)
            port.Stop();
        Assert.Equal(PoolSize, _pool.AvailableCount);
        _ports.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Server_MutatedMessages_CostOnlyTheirConnection()
    {
        Port server = StartServer();
        int sent = 0, connections = 0;
        while (sent < Messages)
        {
            using MemifPeer peer = MemifPeer.ConnectTo(_socket);
            Assert.NotNull(peer.Receive());     // else the server's backlog is full before long
            connections++;
            peer.MakeMemory();
            peer.WriteRings();
            // The handshake, with messages changed, swapped, left out and repeated.
            MemifMessage[] script =
            [
                MemifPeer.Init(), MemifPeer.AddRegion(), MemifPeer.AddRing(true, MemifPeer.ToServerAt),
                MemifPeer.AddRing(false, MemifPeer.ToClientAt), new() { Type = MemifMessageType.Connect },
                MemifPeer.AddRegion(index: 1), new() { Type = MemifMessageType.Disconnect },
            ];
            for (int i = 0; i < 16 && sent < Messages; i++)
            {
                int right = Math.Min(i, script.Length - 1);
                MemifMessage message = script[_random.Next(8) == 0 ? _random.Next(script.Length) : right];
                sent++;
                if (!Send(peer, _random.Next(3) == 0 ? Mutate(message) : message))
                    break;
            }
        }
        Assert.InRange(connections, 1000, Messages);
        AssertAlive(server);
    }

    [Fact]
    public void Client_MutatedMessages_CostOnlyTheirConnection()
    {
        StartBystander();
        using UnixSocket listener = UnixSocket.Listen("@" + _socket, Socket.SOCK_SEQPACKET);
        // Taken down and up for each connection, so that it asks at once.
        Port client = _ports.Attach($"net_memif0,socket={_socket},rsize=2,bsize=64");
        client.Start(new PortConfig(), _pool);
        for (int sent = 0; sent < Messages / 10;)
        {
            using MemifPeer peer = Accept(listener, client);
            MemifMessage[] script =
            [
                Hello(), .. Enumerable.Repeat(new MemifMessage { Type = MemifMessageType.Ack }, 5),
                new() { Type = MemifMessageType.Connected },
            ];
            bool isAlive = true;
            for (int i = 0; i < 40 && isAlive; i++, sent++)
            {
                MemifMessage message = script[_random.Next(10) == 0 ? _random.Next(script.Length)
                    : Math.Min(i, script.Length - 1)];
                isAlive = peer.Send(_random.Next(12) == 0 ? Mutate(message) : message);
                Poll(client);
            }
        }
        using MemifPeer good = Accept(listener, client);
        foreach (MemifMessage message in (MemifMessage[])[Hello(), .. Enumerable.Repeat(
            new MemifMessage { Type = MemifMessageType.Ack }, 4), new() { Type = MemifMessageType.Connected }])
        {
            Assert.True(good.Send(message));
            if (message.Type != MemifMessageType.Connected)
                Assert.NotNull(good.Receive());
        }
        Assert.True(SpinWait.SpinUntil(() => client.GetLink().Up, TimeSpan.FromSeconds(60)));
        AssertBystander();
    }

    [Theory]
    [InlineData(RxOffloads.None)]
    [InlineData(RxOffloads.Scatter)]
    public void Server_MutatedRings_ReadAndWriteOnlyWhatIsShared(RxOffloads offloads)
    {
        Port server = StartServer(offloads);
        MemifPeer? peer = null;
        ulong received = 0;
        for (int i = 0; i < Rings; i++)
        {
            if (peer == null || !server.GetLink().Up)
            {
                peer?.Dispose();
                peer = Connect(server);
                new Span<byte>(peer.Memory + MemifPeer.BuffersAt, (int)(MemifPeer.DefaultBytes - MemifPeer.BuffersAt))
                    .Fill(Filling);
            }
            Scribble(peer);
            received += Poll(server, check: true);
        }
        peer!.Dispose();
        Assert.InRange(received, 1000ul, ulong.MaxValue);
        AssertAlive(server);
    }

    // Mostly rings that are right, with one thing wrong; now and then anything at all.
    private void Scribble(MemifPeer peer)
    {
        MemifRingHeader* ring = _random.Next(3) == 0 ? peer.ToClient : peer.ToServer;
        for (int n = _random.Next(1, 9); n > 0; n--)
        {
            MemifDesc* desc = MemifPeer.Descs(ring) + _random.Next(MemifPeer.Size);
            *desc = new MemifDesc
            {
                Offset = (uint)_random.Next((int)MemifPeer.BuffersAt, (int)MemifPeer.DefaultBytes - 2048),
                Length = (uint)_random.Next(2049),
                Flags = (ushort)(_random.Next(6) == 0 ? 1 : 0),
            };
            if (_random.Next(50) == 0)
                ((byte*)desc)[_random.Next(12)] = (byte)_random.Next(256);
            // The rings are shared too, and may be read; but what is in them could be anything.
            if (desc->Offset < MemifPeer.BuffersAt)
                desc->Offset += MemifPeer.BuffersAt;
        }
        ring->Head = _random.Next(200) == 0 ? (ushort)_random.Next(65536)
            : (ushort)(ring->Tail + _random.Next(MemifPeer.Size + 1));
        if (_random.Next(100) == 0)
            ring->Tail = (ushort)_random.Next(65536);
        ring->Flags = (ushort)_random.Next(2);
    }

    private ulong Poll(Port port, bool check = false)
    {
        var burst = new Mbuf[32];
        int received = port.RxQueues[0].RxBurst(burst);
        foreach (Mbuf packet in burst.AsSpan(0, received))
        {
            for (Mbuf segment = packet; check && !segment.IsNull; segment = segment.Next)
                Assert.True(segment.Data.IndexOfAnyExcept(Filling) < 0, "it read outside the buffers");
            packet.Free();
        }
        Mbuf own = _pool.Alloc();
        own.Append(_random.Next(1, 2000));
        own.Data.Fill(Filling);
        if (port.TxQueues[0].TxBurst([own]) == 0)
            own.Free();
        return (ulong)received;
    }

    private bool Send(MemifPeer peer, MemifMessage message)
    {
        SafeFileHandle[] files = message.Type switch
        {
            MemifMessageType.AddRegion => [peer.Region!],
            MemifMessageType.AddRing => [peer.Signal],
            _ => [],
        };
        if (_random.Next(40) == 0)
            files = [peer.Signal, peer.Region!, peer.Signal];
        if (_random.Next(200) == 0)
            return peer.SendBytes(new byte[_random.Next(1, 300)], files);
        return peer.Send(message, files);
    }

    private MemifMessage Mutate(MemifMessage message)
    {
        for (int n = _random.Next(1, 4); n > 0; n--)
            ((byte*)&message)[_random.Next(4) == 0 ? _random.Next(MemifProtocol.MessageBytes) : _random.Next(16)] =
                (byte)(_random.Next(2) == 0 ? _random.Next(256) : _random.Next(10));
        return message;
    }

    private static MemifMessage Hello() => new()
    {
        Type = MemifMessageType.Hello, MinVersion = MemifProtocol.Version, MaxVersion = MemifProtocol.Version,
        MaxRegion = 255, MaxLog2RingSize = 14,
    };

    private static MemifPeer Accept(UnixSocket listener, Port client)
    {
        client.SetLink(false);
        while (listener.Accept() is { } earlier)
            earlier.Dispose();
        client.SetLink(true);
        UnixSocket? socket = null;
        Assert.True(SpinWait.SpinUntil(() => (socket = listener.Accept()) != null, TimeSpan.FromSeconds(60)));
        return new MemifPeer(socket!);
    }

    private Port StartServer(RxOffloads offloads = RxOffloads.None)
    {
        StartBystander();
        Port server = _ports.Attach($"net_memif0,role=server,socket={_socket}");
        server.Start(new PortConfig { RxOffloads = offloads }, _pool, 64);
        return server;
    }

    private MemifPeer Connect(Port server)
    {
        for (long start = Environment.TickCount64; Environment.TickCount64 - start < 60_000;)
        {
            MemifPeer peer = MemifPeer.ConnectTo(_socket);
            if (peer.Handshake())
                return peer;
            peer.Dispose();
        }
        throw new TimeoutException($"{server.Name} takes no connection");
    }

    // Two ports of the same environment, on a socket of their own, and their link stays up all the time.
    private void StartBystander()
    {
        _bystander = _ports.Attach($"net_memif8,role=server,socket={_socket}-b");
        _other = _ports.Attach($"net_memif9,socket={_socket}-b");
        _bystander.Start(new PortConfig(), _pool, 64);
        _other.Start(new PortConfig(), _pool, 64);
        Assert.True(_other.WaitForLink(TimeSpan.FromMinutes(1)).Up);
    }

    private void AssertBystander()
    {
        Assert.All((Port[])[_bystander, _other], port => Assert.Equal((true, 1ul),
            (port.GetLink().Up, port.GetXstats().Single(x => x.Name == "memif_connections").Value)));
        Poll(_other);
        Assert.Equal(1ul, Poll(_bystander));
    }

    private void AssertAlive(Port server)
    {
        AssertBystander();
        using MemifPeer peer = Connect(server);
        new Span<byte>(peer.Memory + MemifPeer.BuffersAt, 64).Fill(Filling);
        MemifPeer.Descs(peer.ToServer)[0] = new MemifDesc { Offset = MemifPeer.BuffersAt, Length = 64 };
        Volatile.Write(ref peer.ToServer->Head, 1);
        Assert.Equal(1ul, Poll(server, check: true));
    }
}
