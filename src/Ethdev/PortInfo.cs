using Dataplane.Net;

namespace Dataplane;

/// <summary>What a port is and can do. Fixed by its driver when the port is made, all but <see cref="Mode"/>.</summary>
public sealed record PortInfo
{
    /// <summary>The driver's name, e.g. <c>net_null</c>.</summary>
    public required string DriverName { get; init; }

    /// <summary>Kernel interface behind the port, or null.</summary>
    public string? InterfaceName { get; init; }

    /// <summary>How a kernel interface's packets get here, in a few words, e.g. <c>native, zero-copy</c>; null where
    /// there is one way only. What was achieved is known after the port's start.</summary>
    public string? Mode { get; init; }

    /// <summary>Most receive queues, 1 to <see cref="Port.MaxQueues"/>.</summary>
    public int MaxRxQueues { get; init; } = 1;

    /// <summary>Most transmit queues, 1 to <see cref="Port.MaxQueues"/>.</summary>
    public int MaxTxQueues { get; init; } = 1;

    /// <summary>Receive offloads it has, for all queues or for some.</summary>
    public RxOffloads RxOffloads { get; init; }

    /// <summary>Transmit offloads it has, for all queues or for some.</summary>
    public TxOffloads TxOffloads { get; init; }

    /// <summary>Those of <see cref="RxOffloads"/> that may differ from queue to queue.</summary>
    public RxOffloads RxQueueOffloads { get; init; }

    /// <summary>Those of <see cref="TxOffloads"/> that may differ from queue to queue.</summary>
    public TxOffloads TxQueueOffloads { get; init; }

    /// <summary>Least MTU in bytes.</summary>
    public int MinMtu { get; init; } = 68;

    /// <summary>Greatest MTU in bytes.</summary>
    public int MaxMtu { get; init; } = 9000;

    /// <summary>Least data room, headroom not counted, a receive queue's pool must have; bytes.</summary>
    public int MinRxBufferBytes { get; init; }

    /// <summary>
    /// The driver sees to it itself that what it receives fits (it makes frames of its own size, or passes on mbufs
    /// that were filled elsewhere), so the MTU is not held against the data room of the queues' pools.
    /// </summary>
    public bool SizesItsOwnFrames { get; init; }

    /// <summary>Fewest descriptors of a queue.</summary>
    public int MinDescriptors { get; init; } = 32;

    /// <summary>Most descriptors of a queue.</summary>
    public int MaxDescriptors { get; init; } = 32768;

    /// <summary>Descriptors where a queue's configuration says 0.</summary>
    public int DefaultDescriptors { get; init; } = 512;

    /// <summary>The number of descriptors must be a multiple of this.</summary>
    public int DescriptorMultiple { get; init; } = 1;

    /// <summary>The number of descriptors must be a power of two.</summary>
    public bool PowerOfTwoDescriptors { get; init; }

    /// <summary>Most unicast and multicast addresses, the port's own among them.</summary>
    public int MaxMacAddresses { get; init; } = 1;

    /// <summary>What it can hash to spread packets over queues; none without RSS.</summary>
    public RssFields RssFields { get; init; }

    /// <summary>Length of the RSS key in bytes, 0 where it cannot be set.</summary>
    public int RssKeyBytes { get; init; }

    /// <summary>Entries of the redirection table, 0 where it cannot be set.</summary>
    public int RedirectionEntries { get; init; }

    /// <summary>Bytes of EEPROM or NVM that <see cref="Port.ReadEeprom"/> reads.</summary>
    public int EepromBytes { get; init; }

    /// <summary>Receive queues have interrupts: <see cref="RxQueue.InterruptFd"/>.</summary>
    public bool RxInterrupts { get; init; }

    /// <summary>Changes of the link are told by <see cref="PortEvent.LinkChanged"/>.</summary>
    public bool LinkInterrupts { get; init; }

    /// <summary>The PCI function behind the port, or null.</summary>
    public PciDevice? Pci { get; init; }

    /// <summary>NUMA node of the device, 0 for a virtual one.</summary>
    public int NumaNode { get; init; }

    /// <summary>The address it was made with.</summary>
    public MacAddress MacAddress { get; init; }
}
