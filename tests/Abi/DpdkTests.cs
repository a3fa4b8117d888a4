using System.Reflection;
using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>Our flag and type words have DPDK's bits, name by name, when its headers are there.</summary>
public partial class DpdkTests
{
    [Fact]
    public void PacketType_EveryName_HasDpdksValue()
    {
        FieldInfo[] constants = [.. typeof(PacketType).GetFields(BindingFlags.Static | BindingFlags.Public)
            .Where(field => field.IsLiteral)];
        ConstantTests.Compare("rte_mbuf_ptype.h", [.. constants.Select(field => (field.Name,
            "RTE_PTYPE_" + Upper(field.Name).Replace("NON_FRAG", "NONFRAG", StringComparison.Ordinal),
            (long)(uint)field.GetRawConstantValue()!))], "libdpdk-dev", "libdpdk");
    }

    [Fact]
    public void RxOffloads_EveryName_HasDpdksValue() => CompareOffloads<RxOffloads>("RTE_ETH_RX_OFFLOAD_");

    [Fact]
    public void TxOffloads_EveryName_HasDpdksValue() => CompareOffloads<TxOffloads>("RTE_ETH_TX_OFFLOAD_");

    [Fact]
    public void MbufFlags_EveryName_HasDpdksValue() =>
        ConstantTests.Compare("rte_mbuf.h", [.. Enum.GetNames<MbufFlags>().Where(name => name != "None")
            .Select(name => (name, "RTE_MBUF_F_" + Flag(Upper(name)),
                unchecked((long)(ulong)Enum.Parse<MbufFlags>(name))))],
            "libdpdk-dev", "libdpdk");

    private static string Flag(string name)
    {
        foreach ((string ours, string theirs) in ((string, string)[])
            [("CHECKSUM", "CKSUM"), ("TIMESTAMP", "TMST"), ("SECURITY", "SEC"), ("FLEXIBLE", "FLX")])
            name = name.Replace(ours, theirs, StringComparison.Ordinal);
        return name switch
        {
            "TX_TCP_SEGMENT" => "TX_TCP_SEG",
            "TX_UDP_SEGMENT" => "TX_UDP_SEG",
            "TX_L4_CKSUM_MASK" => "TX_L4_MASK",
            "TX_TUNNEL_MPLS_IN_UDP" => "TX_TUNNEL_MPLSINUDP",
            _ => name,
        };
    }

    private static void CompareOffloads<T>(string prefix) where T : struct, Enum =>
        ConstantTests.Compare("rte_ethdev.h", [.. Enum.GetValues<T>().Where(value => Convert.ToUInt64(value) != 0)
            .Select(value => (value.ToString(), prefix + Offload(Upper(value.ToString())),
                (long)Convert.ToUInt64(value)))],
            "libdpdk-dev", "libdpdk");

    private static string Offload(string name) => name switch
    {
        "LOCK_FREE" => "MT_LOCKFREE",
        "MULTI_SEGMENTS" => "MULTI_SEGS",
        "FAST_FREE" => "MBUF_FAST_FREE",
        _ => name.Replace("CHECKSUM", "CKSUM", StringComparison.Ordinal),
    };

    private static string Upper(string name) => WordStart().Replace(name, "_").ToUpperInvariant();

    [GeneratedRegex("(?<=[a-z0-9])(?=[A-Z])")]
    private static partial Regex WordStart();
}
