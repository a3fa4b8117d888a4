namespace Dataplane;

/// <summary>What of a packet goes into the hash. Names as RTE_ETH_RSS_*; a NIC hashes the most that applies.</summary>
[Flags]
public enum RssFields
{
    /// <summary>Nothing: no RSS, all packets go to queue 0.</summary>
    None = 0,
    /// <summary>IPv4 addresses.</summary>
    Ipv4 = 1 << 0,
    /// <summary>IPv4 addresses and TCP ports.</summary>
    Ipv4Tcp = 1 << 1,
    /// <summary>IPv4 addresses and UDP ports.</summary>
    Ipv4Udp = 1 << 2,
    /// <summary>IPv6 addresses.</summary>
    Ipv6 = 1 << 3,
    /// <summary>IPv6 addresses and TCP ports.</summary>
    Ipv6Tcp = 1 << 4,
    /// <summary>IPv6 addresses and UDP ports.</summary>
    Ipv6Udp = 1 << 5,
    /// <summary>All there is.</summary>
    All = Ipv4 | Ipv4Tcp | Ipv4Udp | Ipv6 | Ipv6Tcp | Ipv6Udp,
}

/// <summary>How received packets are spread over queues.</summary>
public sealed record RssConfig
{
    /// <summary>What is hashed; those the port cannot are an error, unless all were asked for.</summary>
    public RssFields Fields { get; init; } = RssFields.All;

    /// <summary>The Toeplitz key, <see cref="PortInfo.RssKeyBytes"/> long; null for the usual one of Microsoft's
    /// RSS specification.</summary>
    public byte[]? Key { get; init; }
}

/// <summary>Pause frames (IEEE 802.3x).</summary>
/// <param name="Receive">Pauses when the far end asks.</param>
/// <param name="Transmit">Asks the far end to pause when receive buffers run out.</param>
/// <param name="Autonegotiate">Agreed with the far end.</param>
public readonly record struct FlowControl(bool Receive, bool Transmit, bool Autonegotiate = true);

/// <summary>A register as it was read.</summary>
/// <param name="Name">Its name in the driver's list of registers.</param>
/// <param name="Offset">Bytes from the start of its BAR.</param>
/// <param name="Value">What it held.</param>
public readonly record struct RegisterValue(string Name, uint Offset, uint Value);

/// <summary>What a descriptor is doing.</summary>
public enum DescriptorStatus
{
    /// <summary>The driver cannot tell.</summary>
    Unknown,
    /// <summary>Receive: empty, waiting for a packet. Transmit: given to the device, not sent yet.</summary>
    WithDevice,
    /// <summary>Receive: a packet the next burst will take. Transmit: sent.</summary>
    Done,
    /// <summary>Held by the driver.</summary>
    Unavailable,
}
