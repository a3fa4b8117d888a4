namespace Dataplane;

/// <summary>How a port is to be set up, given to <see cref="Port.Configure"/>.</summary>
public sealed record PortConfig
{
    /// <summary>Receive queues, 0 to <see cref="PortInfo.MaxRxQueues"/>.</summary>
    public int RxQueues { get; init; } = 1;

    /// <summary>Transmit queues, 0 to <see cref="PortInfo.MaxTxQueues"/>.</summary>
    public int TxQueues { get; init; } = 1;

    /// <summary>Receive offloads for all queues, a subset of <see cref="PortInfo.RxOffloads"/>.</summary>
    public RxOffloads RxOffloads { get; init; }

    /// <summary>Transmit offloads for all queues, a subset of <see cref="PortInfo.TxOffloads"/>.</summary>
    public TxOffloads TxOffloads { get; init; }

    /// <summary>Largest payload of a frame in bytes (Ethernet header and tags not counted); 0 keeps the port's
    /// own.</summary>
    public int Mtu { get; init; }

    /// <summary>How packets are spread over several receive queues; null leaves the port's own way.</summary>
    public RssConfig? Rss { get; init; }

    /// <summary>Receive queues signal by interrupt when <see cref="RxQueue.EnableInterrupt"/> is called.</summary>
    public bool RxInterrupts { get; init; }
}

/// <summary>Settings of one receive queue.</summary>
/// <param name="Descriptors">Slots in the queue, 0 for the driver's default.</param>
/// <param name="Offloads">
/// More offloads for this queue alone, a subset of <see cref="PortInfo.RxQueueOffloads"/>. A driver, and
/// <see cref="RxQueue.Config"/>, see them with the port's added.
/// </param>
/// <param name="DeferredStart">The queue stays stopped when its port starts, until <see cref="RxQueue.Start"/>.</param>
public sealed record RxQueueConfig(int Descriptors = 0, RxOffloads Offloads = RxOffloads.None,
    bool DeferredStart = false);

/// <summary>Settings of one transmit queue.</summary>
/// <param name="Descriptors">Slots in the queue, 0 for the driver's default.</param>
/// <param name="Offloads">
/// More offloads for this queue alone, a subset of <see cref="PortInfo.TxQueueOffloads"/>. A driver, and
/// <see cref="TxQueue.Config"/>, see them with the port's added.
/// </param>
/// <param name="DeferredStart">The queue stays stopped when its port starts, until <see cref="TxQueue.Start"/>.</param>
public sealed record TxQueueConfig(int Descriptors = 0, TxOffloads Offloads = TxOffloads.None,
    bool DeferredStart = false);

/// <summary>Where a port is in its life.</summary>
public enum PortState
{
    /// <summary>Made, not yet configured.</summary>
    Attached,
    /// <summary>Configured; queues may be set up.</summary>
    Configured,
    /// <summary>Packets flow.</summary>
    Started,
    /// <summary>Stopped after a start; may be started or configured again.</summary>
    Stopped,
    /// <summary>Gone.</summary>
    Closed,
}

/// <summary>State of the link.</summary>
/// <param name="Up">Carrier.</param>
/// <param name="SpeedMbps">Megabits per second, 0 when unknown.</param>
/// <param name="FullDuplex">Both ways at once.</param>
/// <param name="Autonegotiated">Found by negotiation, not fixed.</param>
public readonly record struct LinkStatus(bool Up, uint SpeedMbps = 0, bool FullDuplex = true,
    bool Autonegotiated = false)
{
    /// <inheritdoc/>
    public override string ToString() => !Up ? "down" : SpeedMbps == 0 ? "up" :
        $"up, {SpeedMbps} Mbit/s {(FullDuplex ? "full" : "half")} duplex";
}

/// <summary>What happened to a port, told on the control path by <see cref="Port.Events"/>.</summary>
public enum PortEvent
{
    /// <summary>The link went up or down (RTE_ETH_EVENT_INTR_LSC).</summary>
    LinkChanged,
    /// <summary>The device is gone, e.g. unplugged; the port should be closed (RTE_ETH_EVENT_INTR_RMV). Of a function
    /// that the kernel asks back it is told again every 10 s until then.</summary>
    Removed,
    /// <summary>The device lost its state; stop the port and start it again (RTE_ETH_EVENT_INTR_RESET).</summary>
    ResetNeeded,
    /// <summary>The port is closed (RTE_ETH_EVENT_DESTROY).</summary>
    Closed,
}
