using System.Reflection;

namespace Dataplane.Tests;

public class MempoolPacketTypeTests
{
    [Fact]
    public void Constants_EachOne_LiesInsideItsLayersMask()
    {
        var constants = typeof(PacketType).GetFields(BindingFlags.Public | BindingFlags.Static)
            .Where(f => f.IsLiteral).ToDictionary(f => f.Name, f => (uint)f.GetRawConstantValue()!);
        var seen = new HashSet<uint>();
        foreach ((string name, uint value) in constants)
        {
            if (name.EndsWith("Mask", StringComparison.Ordinal) || name == "Unknown")
                continue;
            string layer = constants.Keys.Single(k => k.EndsWith("Mask", StringComparison.Ordinal) && k != "AllMask"
                && name.StartsWith(k[..^4], StringComparison.Ordinal));
            Assert.Equal(value, value & constants[layer]);
            Assert.True(seen.Add(value), name);
        }
        Assert.Equal(51, seen.Count);
    }

    [Theory]
    [InlineData(0u, "UNKNOWN")]
    [InlineData(PacketType.L2Ether | PacketType.L3Ipv4ExtUnknown | PacketType.L4NonFrag,
        "L2_ETHER L3_IPV4_EXT_UNKNOWN L4_NONFRAG")]
    [InlineData(PacketType.L2EtherVlan | PacketType.TunnelMplsInUdp | PacketType.InnerL2EtherQinq,
        "L2_ETHER_VLAN TUNNEL_MPLS_IN_UDP INNER_L2_ETHER_QINQ")]
    [InlineData(0x0000000fu, "L2_UNKNOWN")]
    public void GetName_LayersSet_ListsThemAsDpdkDoes(uint packetType, string name) =>
        Assert.Equal(name, PacketType.GetName(packetType));

    [Fact]
    public void IsIpv4_EveryForm_IsToldFromIpv6()
    {
        foreach (uint type in new[] { PacketType.L3Ipv4, PacketType.L3Ipv4Ext, PacketType.L3Ipv4ExtUnknown })
            Assert.True(PacketType.IsIpv4(type) && !PacketType.IsIpv6(type));
        foreach (uint type in new[] { PacketType.L3Ipv6, PacketType.L3Ipv6Ext, PacketType.L3Ipv6ExtUnknown })
            Assert.True(PacketType.IsIpv6(type) && !PacketType.IsIpv4(type));
    }
}
