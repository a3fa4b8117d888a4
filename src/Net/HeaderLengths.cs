using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>Bytes of each header of a packet, 0 where there is none; filled by <see cref="PacketParser"/>. Headers
/// follow one another without gaps, so sums of these are offsets.</summary>
[StructLayout(LayoutKind.Auto)]
public record struct HeaderLengths
{
    /// <summary>Ethernet header with tags and MPLS labels.</summary>
    public int L2 { get; internal set; }

    /// <summary>IP header with options or extension headers.</summary>
    public int L3 { get; internal set; }

    /// <summary>TCP with options, UDP, SCTP or ICMP header; 0 in fragments.</summary>
    public int L4 { get; internal set; }

    /// <summary>VXLAN, Geneve or GRE header with its options; 0 for IP in IP, which has none.</summary>
    public int Tunnel { get; internal set; }

    /// <summary>Ethernet header with tags inside the tunnel.</summary>
    public int InnerL2 { get; internal set; }

    /// <summary>IP header inside the tunnel.</summary>
    public int InnerL3 { get; internal set; }

    /// <summary>Transport header inside the tunnel.</summary>
    public int InnerL4 { get; internal set; }

    /// <summary>Offset of the transport header.</summary>
    public readonly int L4Offset => L2 + L3;

    /// <summary>Offset of what follows the outer transport header: payload, or tunnel header.</summary>
    public readonly int PayloadOffset => L2 + L3 + L4;

    /// <summary>Offset of the IP header inside the tunnel.</summary>
    public readonly int InnerL3Offset => PayloadOffset + Tunnel + InnerL2;

    /// <summary>All headers known.</summary>
    public readonly int Total => InnerL3Offset + InnerL3 + InnerL4;
}
