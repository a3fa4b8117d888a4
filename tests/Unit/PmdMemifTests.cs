using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Both ends of memifs in one process: how they find, lose and find each other again.</summary>
public sealed unsafe class PmdMemifTests : IDisposable
{
    private readonly DriverRig _rig = new(Drivers.All, [], TimeSpan.FromMilliseconds(600));
    private readonly string _socket = $"dp-memif-{Guid.NewGuid():N}";

    public void Dispose()
    {
        _rig.Stop();
        _rig.AssertAllBack("stopped");
        _rig.Dispose();
    }

    [Fact]
    public void Secret_SameWrongOrMissing_ConnectsOrDoesNot()
    {
        Port server = Attach(0, "role=server,secret=sesame"), wrong = Attach(1, "secret=sesam"), none = Attach(2, "");
        Start(server);
        Start(wrong);
        Start(none);
        Port right = Attach(3, "secret=sesame");
        Start(right);
        AssertUp(server, right);
        Assert.False(wrong.GetLink().Up);
        Assert.False(none.GetLink().Up);
        Exchange(right, server);
    }

    [Fact]
    public void OneSocket_TwoServers_IdsTellThemApart()
    {
        Port serverA = Attach(0, "role=server,id=7"), serverB = Attach(1, "role=server,id=4294967295");
        ConfigException e = Assert.Throws<ConfigException>(() => Attach(2, "role=server,id=7"));
        Assert.Contains("net_memif0", e.Message, StringComparison.Ordinal);
        Port clientB = Attach(3, "id=4294967295"), clientA = Attach(4, "id=7"), nobodys = Attach(5, "id=8");
        foreach (Port port in _rig.Ports.Ports)
            Start(port);
        AssertUp(serverA, clientA, serverB, clientB);
        Assert.False(nobodys.GetLink().Up);
        Exchange(clientA, serverA);
        Exchange(serverB, clientB);
        Assert.Equal(0ul, serverB.GetStats().RxPackets);
        _rig.Ports.Detach(serverA);      // the socket is the other's still
        AssertDown(clientA);
        Exchange(clientB, serverB);
    }

    [Fact]
    [System.Runtime.Versioning.SupportedOSPlatform("linux")]
    public void SocketFile_MadeAndRemoved_OneLeftByTheDeadIsReplaced()
    {
        string path = Path.Combine(Path.GetTempPath(), _socket);
        using (UnixSocket dead = UnixSocket.Listen(path, Socket.SOCK_SEQPACKET))
            File.Move(path, path + "-kept");
        File.Move(path + "-kept", path);
        string file = $"socket={path},socket-abstract=no";
        Port server = _rig.Ports.Attach($"net_memif0,role=server,{file}"),
            client = _rig.Ports.Attach($"net_memif1,{file}");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        Start(client);
        Start(server);
        AssertUp(server, client);
        DeviceException e = Assert.Throws<DeviceException>(
            () => new PortList(_rig.Eal, Drivers.All).Attach($"net_memif9,role=server,{file}"));
        Assert.Equal(Errno.EADDRINUSE, e.Errno);
        _rig.Ports.Detach(server);
        Assert.False(File.Exists(path));
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("zero-copy=yes,rsize=6", "trust=yes")]
    public void Ends_StoppedAndStarted_FindEachOther(string client, string server)
    {
        Port one = Attach(0, "role=server," + server), other = Attach(1, client);
        int told = 0;
        one.Events += (_, what) => Interlocked.Add(ref told, what == PortEvent.LinkChanged ? 1 : 0);
        Start(one);
        Start(other);
        AssertUp(one, other);
        for (int round = 0; round < 5; round++)
        {
            Exchange(one, other);
            Exchange(other, one);
            Port stopped = round % 2 == 0 ? one : other, left = round % 2 == 0 ? other : one;
            Send(left, 20);            // under way, and lost
            Send(stopped, 20);
            stopped.Stop();
            AssertDown(left);
            Assert.Equal(0, Send(left, 1));
            stopped.Start();
            AssertUp(one, other);
        }
        Assert.True(Wait(() => Volatile.Read(ref told) >= 11), $"{told} of 11 changes of the link were told");
    }

    [Fact]
    public void Queues_FewerAtOneEnd_OnlyCommonOnesMovePackets()
    {
        Port server = Attach(0, "role=server"), client = Attach(1, "");
        server.Start(new PortConfig { RxQueues = 2, TxQueues = 3 }, _rig.Pool, 64);
        client.Start(new PortConfig { RxQueues = 4, TxQueues = 4 }, _rig.Pool, 64);
        AssertUp(server, client);
        int[] taken = [.. client.TxQueues.Select(queue => Send(client, 4, queue.Index))];
        Assert.Equal([4, 4, 0, 0], taken);
        Assert.Equal([4, 4, 4], server.TxQueues.Select(queue => Send(server, 4, queue.Index)));
        Assert.Equal([4, 4], server.RxQueues.Select(queue => Receive(queue, 4)));
        Assert.Equal([4, 4, 4, 0], client.RxQueues.Select(queue => Receive(queue, 4)));
    }

    [Fact]
    public void RingSize_OfEachQueue_IsWhatWasAskedFor()
    {
        Port server = Attach(0, "role=server"), client = Attach(1, "rsize=3");
        Start(server);
        client.Start(new PortConfig(), _rig.Pool);
        AssertUp(server, client);
        Assert.Equal(8, client.TxQueues[0].Config.Descriptors);
        Assert.Equal(8, Send(client, 20));
        Assert.Equal(8, Send(server, 20));
        Assert.Equal(8, Receive(server.RxQueues[0], 20));
        Assert.Equal(5, Send(client, 5));
        Assert.Equal(8, Receive(client.RxQueues[0], 20));
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("zero-copy=yes", "trust=yes")]
    public void Packet_LargerThanTheRing_CountedAndTheNextGoes(string client, string server)
    {
        Port one = Attach(0, "role=server," + server), other = Attach(1, "rsize=1,bsize=64," + client);
        Start(one);
        other.Start(new PortConfig { TxOffloads = TxOffloads.MultiSegments }, _rig.Pool);
        AssertUp(one, other);
        Mbuf chain = Make(40);
        for (int i = 0; i < 4; i++)
            Assert.True(chain.TryChain(Make(40)));
        Assert.Equal(1, other.TxQueues[0].TxBurst([chain]));
        PortStats stats = other.GetStats();
        Assert.Equal((1ul, 0ul, 0ul), (stats.TxErrors, stats.TxPackets, stats.TxBytes));
        Exchange(other, one, 1);
    }

    [Fact]
    public void ZeroCopy_PacketsSent_AreTheSameMemoryAndComeBack()
    {
        Port server = Attach(0, "role=server,trust=yes"), client = Attach(1, "zero-copy=yes,rsize=4");
        Start(server);
        client.Start(new PortConfig(), _rig.Pool);
        AssertUp(server, client);
        int before = _rig.Pool.AvailableCount;
        Assert.Equal(16, Send(client, 20));
        Assert.Equal(before - 16, _rig.Pool.AvailableCount);    // kept until the server has read them
        Assert.Equal(16, Receive(server.RxQueues[0], 16));
        Assert.Equal(before - 16, _rig.Pool.AvailableCount);
        Assert.Equal(16, client.TxQueues[0].ReclaimTx());
        Assert.Equal(before, _rig.Pool.AvailableCount);
    }

    [Fact]
    public void ZeroCopy_MemoryTheServerDoesNotReach_IsCopied()
    {
        Port server = Attach(0, "role=server,trust=yes"), client = Attach(1, "zero-copy=yes,rsize=4");
        Start(server);
        client.Start(new PortConfig(), _rig.Pool);
        AssertUp(server, client);
        // A pool of another environment lies in memory that nobody shares.
        using Eal elsewhere = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        using Mempool foreign = Mempool.CreateMbufPool(elsewhere.Memory, "f", 64, cacheSize: 0);
        Mbuf packet = foreign.Alloc();
        packet.Append(100);
        packet.Data.Fill(0x5a);
        Assert.Equal(1, client.TxQueues[0].TxBurst([packet]));
        var got = new Mbuf[1];
        Assert.Equal(1, server.RxQueues[0].RxBurst(got));
        Assert.Equal(Enumerable.Repeat((byte)0x5a, 100), DriverRig.BytesOf(got[0]));
        got[0].Free();
        Assert.Equal(1, client.TxQueues[0].ReclaimTx());
        Assert.Equal(64, foreign.AvailableCount);
    }

    private Port Attach(int number, string args) =>
        _rig.Ports.Attach($"net_memif{number},socket={_socket}{(args.Length > 0 ? "," : "")}{args.Trim(',')}");

    private void Start(Port port) =>
        port.Start(new PortConfig { TxOffloads = TxOffloads.MultiSegments }, _rig.Pool, 128);

    private static void AssertUp(params Port[] ports)
    {
        foreach (Port port in ports)
            Assert.True(Wait(() => port.GetLink().Up), $"{port.Name} does not come up");
    }

    private static void AssertDown(Port port) => Assert.True(Wait(() => !port.GetLink().Up), $"{port.Name} stays up");

    private static bool Wait(Func<bool> condition) => SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60));

    private Mbuf Make(int bytes)
    {
        Mbuf mbuf = _rig.Pool.Alloc();
        Assert.True(mbuf.TryAppend(bytes, out Span<byte> data));
        data.Fill(0x33);
        return mbuf;
    }

    private int Send(Port port, int count, int queue = 0)
    {
        var packets = new Mbuf[count];
        for (int i = 0; i < count; i++)
            packets[i] = Make(60 + i);
        int sent = port.TxQueues[queue].TxBurst(packets);
        Mbuf.FreeBulk(packets.AsSpan(sent));
        return sent;
    }

    private static int Receive(RxQueue queue, int most)
    {
        var packets = new Mbuf[most];
        int received = queue.RxBurst(packets);
        Mbuf.FreeBulk(packets.AsSpan(0, received));
        return received;
    }

    private void Exchange(Port from, Port to, int count = 32)
    {
        Assert.Equal(count, Send(from, count));
        Assert.Equal(count, Receive(to.RxQueues[0], 64));
    }
}
