using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>What is known of packets that are followed, through a cable and back.</summary>
public sealed class PacketTraceTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
    private readonly PortList _ports;
    private readonly Mempool _pool;
    private readonly Port _near, _far;
    private readonly Mbuf[] _burst = new Mbuf[32];

    public PacketTraceTests()
    {
        _ports = new PortList(_eal, Drivers.All);
        _pool = Mempool.CreateMbufPool(_eal.Memory, "trace", 4095, cacheSize: 0);
        (_near, _far) = (_ports.Attach("net_wire0"), _ports.Attach("net_wire1"));
        foreach (Port port in _ports.Ports)
            port.Start(new PortConfig(), _pool);
    }

    public void Dispose()
    {
        _ports.Dispose();
        Assert.Equal(0, _pool.InUseCount);
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Packets_SentHeldAndDropped_TellTheirWay()
    {
        int held = _ports.Trace.AddName("held"), noRoute = _ports.Trace.AddName("no route");
        TraceSession session = _ports.Trace.Start(3, null);
        Span<Mbuf> burst = Receive(5);
        Assert.Equal(3, session.Taken);
        _ports.Trace.Stage(burst[..2], held);
        _ports.Trace.Drop(burst[1..2], noRoute);
        burst[1].Free();
        Assert.Equal(1, _far.TxQueues[0].TxBurst(burst[..1]));

        Assert.Equal([TraceEnd.Sent, TraceEnd.Dropped, TraceEnd.Open],
            Enumerable.Range(0, 3).Select(i => session[i].End));
        Assert.Equal([PacketTrace.Received, held, PacketTrace.Offered, PacketTrace.Sent], Names(session[0]));
        Assert.Equal([PacketTrace.Received, held, noRoute], Names(session[1]));
        Assert.Equal([PacketTrace.Received], Names(session[2]));
        Assert.Equal((_far.Id, 0, 80, Lcore.NoId), (session[0].Events[3].Port, session[0].Events[3].Queue,
            session[0].Length, session[0].Lcore));
        ulong[] cycles = [.. session[0].Events.ToArray().Select(one => one.Cycles)];
        Assert.Equal(cycles.Order(), cycles);
        Assert.Equal(DriverRig.Expected(0, 80)[..TraceRecord.MaxHeaderBytes], session[0].Header.ToArray());
        Mbuf.FreeBulk(burst[2..]);
        Free(_near);
    }

    [Fact]
    public void PacketOfAFullQueue_IsRefusedAndCanBeDroppedOrSentLater()
    {
        while (Send(_far, 32) == 32)
        {
        }
        TraceSession session = _ports.Trace.Start(2, null);
        Span<Mbuf> burst = Receive(2);
        Assert.Equal(0, _far.TxQueues[0].TxBurst(burst));
        Assert.Equal([PacketTrace.Received, PacketTrace.Offered, PacketTrace.Refused], Names(session[0]));
        Assert.Equal(TraceEnd.Open, session[0].End);
        int reason = _ports.Trace.AddName("queue full");
        _ports.Trace.Drop(burst[1..], reason);
        burst[1].Free();
        Free(_near);
        Assert.Equal(1, _far.TxQueues[0].TxBurst(burst[..1]));
        Assert.Equal((TraceEnd.Sent, TraceEnd.Dropped), (session[0].End, session[1].End));
        Assert.Equal(reason, Names(session[1])[^1]);
        Free(_near);
    }

    [Fact]
    public void Packet_OfferedWithoutEnd_KeepsTheFirstEventsAndTheEnd()
    {
        while (Send(_far, 32) == 32)
        {
        }
        TraceSession session = _ports.Trace.Start(1, null);
        Span<Mbuf> burst = Receive(1);
        for (int i = 0; i < 100; i++)
            Assert.Equal(0, _far.TxQueues[0].TxBurst(burst));
        Free(_near);
        Assert.Equal(1, _far.TxQueues[0].TxBurst(burst));
        Assert.Equal(TraceRecord.MaxEvents, session[0].Events.Length);
        Assert.Equal((PacketTrace.Received, PacketTrace.Sent, TraceEnd.Sent), (Names(session[0])[0],
            Names(session[0])[^1], session[0].End));
        Free(_near);
    }

    [Fact]
    public void Stopped_OrAnotherBegun_EarlierPacketsAreLeftAlone()
    {
        TraceSession first = _ports.Trace.Start(4, null);
        Span<Mbuf> burst = Receive(4);
        TraceSession second = _ports.Trace.Start(4, null);
        Assert.NotEqual(first.Id, second.Id);
        _ports.Trace.Stage(burst, _ports.Trace.AddName("late"));
        Assert.Equal(4, _far.TxQueues[0].TxBurst(burst));
        Assert.Equal(0, second.Taken);
        Assert.Single(Names(first[0]));
        _ports.Trace.Stop();
        Assert.False(_ports.Trace.IsOn);
        burst = Receive(2);
        Assert.Equal(0, second.Taken);
        Mbuf.FreeBulk(burst);
        Free(_near);
    }

    [Fact]
    public void OnePortAlone_OthersPacketsAreNotFollowed()
    {
        TraceSession session = _ports.Trace.Start(4, _near);
        Mbuf.FreeBulk(Receive(4));
        Assert.Equal(0, session.Taken);
        Send(_far, 2);
        Free(_near);
        Assert.Equal(2, session.Taken);
    }

    /// <summary>Of two bursts' packets those the filter takes are followed, as many as are wanted.</summary>
    [Fact]
    public void Filter_PicksWhatItTakes()
    {
        // The contract's frames have their number in the last four bytes before byte 60, from 0 on in each burst.
        byte[][] frames = [.. Enumerable.Range(0, 20).Select(i => DriverRig.Expected((uint)i, 80))];
        int at = Enumerable.Range(0, 80).First(i => frames.Select(frame => frame[i]).Distinct().Count() == 20);
        sock_filter[] fewer =
        [
            new() { code = Filter.BPF_LD | Filter.BPF_B | Filter.BPF_ABS, k = (uint)at },
            new() { code = Filter.BPF_JMP | Filter.BPF_JEQ | Filter.BPF_K, k = frames[7][at], jt = 1 },
            new() { code = Filter.BPF_JMP | Filter.BPF_JEQ | Filter.BPF_K, k = frames[9][at], jf = 1 },
            new() { code = Filter.BPF_RET | Filter.BPF_K, k = 1 }, new() { code = Filter.BPF_RET | Filter.BPF_K },
        ];
        string hex = Convert.ToHexString(MemoryMarshal.AsBytes(fewer.AsSpan()));
        Assert.Equal(JsonValueKind.Null, Ask($"/dataplane/trace,3,{_far.Id},{hex[..^16]}").ValueKind);
        Assert.Equal(JsonValueKind.Null, Ask($"/dataplane/trace,3,{_far.Id},{hex[1..]}").ValueKind);
        Assert.Equal(JsonValueKind.Null, Ask($"/dataplane/trace,3,{_far.Id},{hex}00").ValueKind);
        Assert.Equal(3, Ask($"/dataplane/trace,3,65535,{hex}").Long("wanted"));
        Mbuf.FreeBulk(Receive(20));
        Mbuf.FreeBulk(Receive(20));
        JsonElement[] read = [.. Ask("/dataplane/trace/read,0").GetProperty("packets").EnumerateArray()];
        Assert.Equal(((int[])[7, 9, 7]).Select(i => Convert.ToHexString(frames[i].AsSpan(0, 60))),
            read.Select(packet => packet.GetProperty("header").GetString()));
    }

    [Fact]
    public void DataPath_WhileOnAndOff_AllocatesNothing()
    {
        int stage = _ports.Trace.AddName("stage");
        for (int round = 0; round < 4; round++)
        {
            TraceSession? session = round == 3 ? null : _ports.Trace.Start(PacketTrace.MaxPackets, null,
                round == 1 ? PacketFilter.Create([new() { code = Filter.BPF_RET | Filter.BPF_K, k = 1 }]) : null);
            if (session == null)
                _ports.Trace.Stop();
            long before = 0;
            for (int i = 0; i < 2000; i++)
            {
                if (i == 10)
                    before = GC.GetAllocatedBytesForCurrentThread();
                Send(_near, 2);
                Span<Mbuf> burst = _burst.AsSpan(0, _far.RxQueues[0].RxBurst(_burst));
                _ports.Trace.Stage(burst, stage);
                _far.TxQueues[0].TxBurst(burst);
                Free(_near);
            }
            Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
            Assert.True(session == null || session.Taken == PacketTrace.MaxPackets);
        }
    }

    [Fact]
    public void Telemetry_StartReadStop_TellsPages()
    {
        Assert.Equal(JsonValueKind.Null, Ask("/dataplane/trace").ValueKind);
        Assert.Equal(JsonValueKind.Null, Ask("/dataplane/trace,1001").ValueKind);
        Assert.Equal(JsonValueKind.Null, Ask("/dataplane/trace,5,77").ValueKind);
        Assert.Equal(JsonValueKind.Null, Ask("/dataplane/trace/read,0").ValueKind);
        long id = Ask("/dataplane/trace,30").Long("trace");
        int longName = _ports.Trace.AddName(new string('n', 40));
        Assert.All(["", new string('n', 41), "quote\"", "back\\slash", "\u00e4", "\n"], name =>
            Assert.Throws<ConfigException>(() => _ports.Trace.AddName(name)));
        Span<Mbuf> burst = Receive(30);
        for (int i = 0; i < TraceRecord.MaxEvents; i++)
            _ports.Trace.Stage(burst, longName);
        var read = new List<JsonElement>();
        for (int pages = 0; pages < 3; pages++)
        {
            JsonElement page = Ask($"/dataplane/trace/read,{read.Count}");
            Assert.Equal((id, 1, 30), (page.Long("trace"), page.Long("on"), page.Long("taken")));
            read.AddRange(page.GetProperty("packets").EnumerateArray());
        }
        // However long they are, none was left out of a page.
        Assert.Equal(Enumerable.Range(0, 30).Select(i => (long)i), read.Select(packet => packet.Long("index")));
        Assert.All(read, packet => Assert.Equal("open", packet.GetProperty("end").GetString()));
        Assert.Equal(Convert.ToHexString(DriverRig.Expected(29, 80).AsSpan(0, 60)),
            read[29].GetProperty("header").GetString());
        Assert.Equal(30, _far.TxQueues[0].TxBurst(burst));
        JsonElement last = Ask("/dataplane/trace/read,29");
        Assert.Equal((0, 1), (last.Long("on"), last.GetProperty("packets").GetArrayLength()));
        Assert.False(_ports.Trace.IsOn);
        Free(_near);
        Assert.Equal(0, Ask("/dataplane/trace,0").Long("trace"));
    }

    [Fact]
    public void Stage_NumberThatNobodyGaveOut_IsToldAsSuch()
    {
        Ask("/dataplane/trace,2");
        Span<Mbuf> burst = Receive(2);
        _ports.Trace.Stage(burst[..1], 77);
        _ports.Trace.Drop(burst[1..], -1);
        Mbuf.FreeBulk(burst);
        JsonElement[] read = [.. Ask("/dataplane/trace/read,0").GetProperty("packets").EnumerateArray()];
        Assert.Equal(["(no name: 77)", "(no name: -1)"], read.Select(packet =>
            packet.GetProperty("stages")[1].GetString()));
    }

    /// <summary>Ended while its alarm goes off: neither waits for the other, and nothing begins afterwards.</summary>
    [Fact]
    public async Task Dispose_WhileItEndsByItself_IsFinal()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await Task.Run(() =>
        {
            for (int i = 0; i < 200; i++)
            {
                var trace = new PacketTrace(_eal, () => _ports.Ports) { Patience = TimeSpan.FromMicroseconds(i) };
                trace.Start(1, null);
                trace.Dispose();
                Assert.False(trace.IsOn);
                Assert.Throws<ObjectDisposedException>(() => trace.Start(1, null));
                Assert.False(trace.IsOn);
            }
        }, cancel).WaitAsync(TimeSpan.FromMinutes(2), cancel);
    }

    [Fact]
    public void NobodyReads_EndsByItselfAndCanBeStartedAgain()
    {
        using var trace = new PacketTrace(_eal, () => _ports.Ports) { Patience = TimeSpan.FromMilliseconds(20) };
        for (int i = 0; i < 3; i++)
        {
            TraceSession session = trace.Start(5, null);
            Assert.True(SpinWait.SpinUntil(() => !trace.IsOn, TimeSpan.FromMinutes(1)));
            trace.Stop();       // waits for what ends it to be through
            Mbuf.FreeBulk(Receive(2));
            Assert.Equal(0, session.Taken);
        }
    }

    private JsonElement Ask(string request) => JsonDocument.Parse(_eal.Telemetry.Answer(
        Encoding.ASCII.GetBytes(request))).RootElement.EnumerateObject().First().Value;

    private static int[] Names(TraceRecord record) => [.. record.Events.ToArray().Select(one => one.Name)];

    /// <summary>Packets by the cable to its far end.</summary>
    private Span<Mbuf> Receive(int count)
    {
        Assert.Equal(count, Send(_near, count));
        Assert.Equal(count, _far.RxQueues[0].RxBurst(_burst.AsSpan(0, count)));
        return _burst.AsSpan(0, count);
    }

    private readonly Mbuf[] _sending = new Mbuf[32];
    private static readonly byte[][] s_frames = [.. Enumerable.Range(0, 32).Select(i =>
        DriverRig.Expected((uint)i, 80))];

    private int Send(Port port, int count)
    {
        Span<Mbuf> burst = _sending.AsSpan(0, count);
        if (!_pool.TryAllocBulk(burst))
            return 0;
        for (int i = 0; i < count; i++)
        {
            burst[i].TrySetLength(80);
            s_frames[i].CopyTo(burst[i].Data);
        }
        int sent = port.TxQueues[0].TxBurst(burst);
        Mbuf.FreeBulk(burst[sent..]);
        return sent;
    }

    private readonly Mbuf[] _freeing = new Mbuf[32];

    private void Free(Port port)
    {
        for (int received; (received = port.RxQueues[0].RxBurst(_freeing)) > 0;)
            Mbuf.FreeBulk(_freeing.AsSpan(0, received));
    }
}
