using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The <c>net_null</c> driver: packets from nowhere, at any rate, and packets to nowhere.</summary>
public sealed class NullPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_null";

    /// <inheritdoc/>
    public override string Help => "size=BYTES (64) frame length, copy=0|1 (0) copy the data, no-rx=0|1 (0) receive "
        + "nothing";

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new NullPort(context);
}

/// <summary>A port that receives as many packets as it is asked for and drops all it is given.</summary>
internal sealed class NullPort : Port
{
    internal NullPort(PortContext context) : base(context)
    {
        FrameBytes = (int)context.Args.GetNumber("size", 64, 14, ushort.MaxValue);
        Copy = context.Args.GetFlag("copy");
        NoRx = context.Args.GetFlag("no-rx");
        context.Args.ThrowIfUnused();
        Info = new PortInfo
        {
            DriverName = "net_null",
            MaxRxQueues = MaxQueues,
            MaxTxQueues = MaxQueues,
            TxOffloads = TxOffloads.MultiSegments | TxOffloads.FastFree,
            MaxMtu = ushort.MaxValue,
            SizesItsOwnFrames = true,
            MaxMacAddresses = 64,
            MacAddress = MacAddress.Local(0x4e_0000u + context.Id),
        };
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    /// <summary>Bytes in every frame received.</summary>
    internal int FrameBytes { get; }

    /// <summary>Copy the data of every packet in and out, as a device behind a copy would.</summary>
    internal bool Copy { get; }

    /// <summary>Receive nothing.</summary>
    internal bool NoRx { get; }

    /// <inheritdoc/>
    public override LinkStatus GetLink() => new(State == PortState.Started, SpeedMbps: 10_000);

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address) { }

    /// <inheritdoc/>
    protected override void OnSetPromiscuous(bool on) { }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on) { }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new NullRxQueue(this, index, pool);

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new NullTxQueue(this, index, config);
}
