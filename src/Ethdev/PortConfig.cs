using Dataplane.Net;

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

    /// <summary>Largest payload of a frame in bytes (Ethernet header and tags not counted); 0 keeps the port's own.</summary>
    public int Mtu { get; init; }
}

/// <summary>Settings of one receive queue.</summary>
/// <param name="Descriptors">Slots in the queue, 0 for the driver's default.</param>
/// <param name="Offloads">More offloads for this queue alone.</param>
public sealed record RxQueueConfig(int Descriptors = 0, RxOffloads Offloads = RxOffloads.None);

/// <summary>Settings of one transmit queue.</summary>
/// <param name="Descriptors">Slots in the queue, 0 for the driver's default.</param>
/// <param name="Offloads">More offloads for this queue alone.</param>
public sealed record TxQueueConfig(int Descriptors = 0, TxOffloads Offloads = TxOffloads.None);

/// <summary>What a port is and can do. Fixed by its driver when the port is made.</summary>
public sealed record PortInfo
{
    /// <summary>The driver's name, e.g. <c>net_null</c>.</summary>
    public required string DriverName { get; init; }

    /// <summary>Kernel interface behind the port, or null.</summary>
    public string? InterfaceName { get; init; }

    /// <summary>Most receive queues.</summary>
    public int MaxRxQueues { get; init; } = 1;

    /// <summary>Most transmit queues.</summary>
    public int MaxTxQueues { get; init; } = 1;

    /// <summary>Receive offloads it has.</summary>
    public RxOffloads RxOffloads { get; init; }

    /// <summary>Transmit offloads it has.</summary>
    public TxOffloads TxOffloads { get; init; }

    /// <summary>Least MTU in bytes.</summary>
    public int MinMtu { get; init; } = 68;

    /// <summary>Greatest MTU in bytes.</summary>
    public int MaxMtu { get; init; } = 9000;

    /// <summary>Fewest descriptors of a queue.</summary>
    public int MinDescriptors { get; init; } = 32;

    /// <summary>Most descriptors of a queue.</summary>
    public int MaxDescriptors { get; init; } = 32768;

    /// <summary>Descriptors where a queue's configuration says 0.</summary>
    public int DefaultDescriptors { get; init; } = 512;

    /// <summary>NUMA node of the device, 0 for a virtual one.</summary>
    public int NumaNode { get; init; }

    /// <summary>The address it was made with.</summary>
    public MacAddress MacAddress { get; init; }
}

/// <summary>State of the link.</summary>
/// <param name="Up">Carrier.</param>
/// <param name="SpeedMbps">Megabits per second, 0 when unknown.</param>
/// <param name="FullDuplex">Both ways at once.</param>
/// <param name="Autonegotiated">Found by negotiation, not fixed.</param>
public readonly record struct LinkStatus(bool Up, uint SpeedMbps = 0, bool FullDuplex = true, bool Autonegotiated = false);

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
