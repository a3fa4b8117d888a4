using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>What can be wrong with a driver, for the suites that must notice it.</summary>
public enum Defect
{
    None,
    /// <summary>Now and then a packet taken is never freed.</summary>
    Leak,
    /// <summary>A packet that was not taken is kept all the same.</summary>
    KeepsRefused,
    /// <summary>What is under way at stop is forgotten.</summary>
    ForgetsOnStop,
    /// <summary>Bytes are counted for packets that were refused.</summary>
    CountsRefusedBytes,
    /// <summary>Received bytes are not counted.</summary>
    CountsNoRxBytes,
    /// <summary>Packets change places.</summary>
    Reorders,
    /// <summary>A byte of the data is changed.</summary>
    Corrupts,
    /// <summary>The mbuf does not say which port it came in by.</summary>
    WrongPort,
    /// <summary>Only the first segment arrives.</summary>
    CutsSegments,
    /// <summary>Objects are made on the managed heap.</summary>
    Allocates,
    /// <summary>A received packet says it wants what the sender wanted.</summary>
    LeavesTxFlags,
    /// <summary>The link is never up.</summary>
    NoLink,
    /// <summary>Any argument is taken.</summary>
    TakesAnyArgument,
    /// <summary>The device does not stop.</summary>
    FailsToStop,
}

/// <summary>A driver for tests: a loop in managed memory that can be made faulty.</summary>
internal sealed class FakeDriver(Defect defect = Defect.None) : PortDriver
{
    public override string Name => "net_fake";

    public override string Help => "none";

    public override Port Create(PortContext context) => new FakePort(context, defect);
}

/// <summary>What is sent on queue n is received on queue n.</summary>
internal sealed class FakePort : Port
{
    internal const int Slots = 64;

    internal FakePort(PortContext context, Defect defect, RxOffloads moreRx = 0, TxOffloads moreTx = 0)
        : base(context)
    {
        Info = Info with { RxOffloads = Info.RxOffloads | moreRx, TxOffloads = Info.TxOffloads | moreTx };
        Defect = defect;
        if (defect != Defect.TakesAnyArgument)
            context.Args.ThrowIfUnused();
        for (int i = 0; i < Loops.Length; i++)
            Loops[i] = new Queue<Mbuf>(Slots);
    }

    public override PortInfo Info { get; } = new()
    {
        DriverName = "net_fake",
        MaxRxQueues = 4,
        MaxTxQueues = 4,
        MaxMtu = 4000,
        RxOffloads = RxOffloads.Scatter | RxOffloads.KeepCrc | RxOffloads.Timestamp,
        RxQueueOffloads = RxOffloads.Scatter | RxOffloads.KeepCrc,
        TxOffloads = TxOffloads.MultiSegments,
        MaxDescriptors = 1024,
        DefaultDescriptors = 64,
        PowerOfTwoDescriptors = true,
        MaxMacAddresses = 2,
        MacAddress = MacAddress.Local(1),
    };

    internal Defect Defect { get; }

    internal Queue<Mbuf>[] Loops { get; } = new Queue<Mbuf>[4];

    internal ulong Looped { get; set; }

    public override LinkStatus GetLink() => new(State == PortState.Started && Defect != Defect.NoLink);

    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new FakeRx(this, index, pool);

    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => new FakeTx(this, index);

    protected override void OnSetMacAddress(MacAddress address) { }

    protected override void OnAddMacAddress(MacAddress address) { }

    protected override void AddXstats(ICollection<Xstat> xstats) => xstats.Add(new("fake_looped", Looped));

    protected override void OnStop()
    {
        foreach (Queue<Mbuf> loop in Loops)
        {
            if (Defect != Defect.ForgetsOnStop)
                Mbuf.FreeBulk([.. loop]);
            loop.Clear();
        }
        if (Defect == Defect.FailsToStop)
            throw new DeviceException("it does not stop");
    }
}

internal sealed unsafe class FakeRx(FakePort port, int index, Mempool pool) : RxQueue(port, index, pool)
{
    private object? _garbage;

    public override int WaitingCount => port.Loops[Index].Count;

    protected override int Receive(Span<Mbuf> burst)
    {
        int count = 0;
        while (count < burst.Length && port.Loops[Index].TryDequeue(out Mbuf packet))
        {
            burst[count++] = packet;
            if (port.Defect != Defect.CountsNoRxBytes)
                Stats->Bytes += packet.Header->PktLen;
            if (port.Defect != Defect.WrongPort)
                packet.Header->Port = port.Id;
            if (port.Defect != Defect.LeavesTxFlags)
                packet.Header->OlFlags = MbufFlags.None;
            port.Looped++;
        }
        if (port.Defect == Defect.Reorders && count > 1)
            (burst[0], burst[1]) = (burst[1], burst[0]);
        if (port.Defect == Defect.Corrupts && count > 0)
            burst[0].Data[^1] ^= 1;
        if (port.Defect == Defect.Allocates && count > 0)
            _garbage = new byte[count];
        GC.KeepAlive(_garbage);
        return count;
    }

    protected internal override ulong ReadMissed() => 7;
}

internal sealed unsafe class FakeTx(FakePort port, int index) : TxQueue(port, index)
{
    private int _taken;

    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        int sent = 0;
        for (; sent < packets.Length && port.Loops[Index].Count < FakePort.Slots; sent++)
        {
            Mbuf packet = packets[sent];
            Stats->Bytes += packet.Header->PktLen;
            if (port.Defect == Defect.CutsSegments && packet.Header->Next != null)
            {
                packet.Next.Free();
                packet.Header->Next = null;
                packet.Header->NbSegs = 1;
                packet.Header->PktLen = packet.Header->DataLen;
            }
            if (port.Defect != Defect.Leak || ++_taken % 100 != 0)
                port.Loops[Index].Enqueue(packet);
        }
        if (sent < packets.Length && port.Defect == Defect.CountsRefusedBytes)
            Stats->Bytes += packets[sent].Header->PktLen;
        if (sent < packets.Length && port.Defect == Defect.KeepsRefused)
            port.Loops[Index].Enqueue(packets[sent]);
        return sent;
    }
}
