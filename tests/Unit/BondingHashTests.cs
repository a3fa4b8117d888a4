using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Hashes against values worked out by hand, as the comments show.</summary>
public class BondingHashTests
{
    // Destination 00:11:22:33:44:55, source 66:77:88:99:aa:bb:
    // 0011^2233^4455^6677^8899^aabb = 2222^4455 = 6677, ^6677 = 0, ^8899^aabb = 2222; 22^22 = 00.
    private const string Addresses = "001122334455 66778899aabb ";

    // Destination 02:00:00:00:00:01, source 02:00:00:00:01:07: 0200^0200 = 0, 0001^0107 = 0106; 01^06 = 07.
    private const string Near = "020000000001 020000000107 ";

    // 10.0.0.1 to 10.0.3.18: 0a000001^0a000312 = 00000313; 03^13 = 10.
    private const string IPv4Start = "45000028 00000000 40";
    private const string IPv4Ends = "0000 0a000001 0a000312 ";

    // UDP 4660 to 22136, 1234^5678 = 444c; 44^4c = 08.
    private const string Ports = "12345678 0014 0000 ";

    [Theory]
    [InlineData(Addresses + "0800", "l2", 0x00)]
    [InlineData(Near + "0800", "l2", 0x07)]
    [InlineData(Near + "0806 0001", "l23", 0x07)]           // not IP: addresses
    [InlineData(Near + "0806 0001", "l34", 0x07)]
    [InlineData(Near + "0800" + IPv4Start + "11" + IPv4Ends + Ports, "l23", 0x07 ^ 0x10)]
    [InlineData(Near + "0800" + IPv4Start + "11" + IPv4Ends + Ports, "l34", 0x10 ^ 0x08)]
    [InlineData(Near + "0800" + IPv4Start + "06" + IPv4Ends + Ports, "l34", 0x10 ^ 0x08)]
    [InlineData(Near + "0800" + IPv4Start + "84" + IPv4Ends + Ports, "l34", 0x10 ^ 0x08)]
    [InlineData(Near + "0800" + IPv4Start + "01" + IPv4Ends + Ports, "l34", 0x10)]          // ICMP has no ports
    [InlineData(Near + "8100 0064 0800" + IPv4Start + "11" + IPv4Ends + Ports, "l34", 0x18)]
    [InlineData(Near + "88a8 0001 8100 0064 0800" + IPv4Start + "11" + IPv4Ends + Ports, "l34", 0x18)]
    [InlineData(Near + "0800 45000028 00002000 4011" + IPv4Ends + Ports, "l34", 0x10)]      // first fragment
    [InlineData(Near + "0800 45000028 00000001 4011" + IPv4Ends + Ports, "l34", 0x10)]      // a later one
    [InlineData(Near + "0800 46000028 00000000 4011" + IPv4Ends + "01010101" + Ports, "l34", 0x18)] // an option
    [InlineData(Near + "0800" + IPv4Start + "11" + IPv4Ends + "1234", "l34", 0x10)]         // ports cut off
    [InlineData(Near + "0800" + IPv4Start + "11", "l34", 0x07)]                             // header cut off
    // fe80::1 to fe80::302: 00000001^00000302 = 00000303; 03^03 = 00.
    [InlineData(Near + "86dd 60000000 0008 11 40 fe800000000000000000000000000001 fe800000000000000000000000000302"
        + Ports, "l23", 0x07)]
    [InlineData(Near + "86dd 60000000 0008 11 40 fe800000000000000000000000000001 fe800000000000000000000000000302"
        + Ports, "l34", 0x08)]
    // A hop-by-hop header before UDP.
    [InlineData(Near + "86dd 60000000 0010 00 40 fe800000000000000000000000000001 fe800000000000000000000000000302"
        + "1100 010400000000" + Ports, "l34", 0x08)]
    [InlineData("020000", "l34", 0)]
    [InlineData("", "l2", 0)]
    public void Hash_Frame_IsWhatTheFieldsGive(string frame, string policy, int expected)
    {
        TransmitPolicy which = policy switch { "l2" => TransmitPolicy.L2, "l23" => TransmitPolicy.L23,
            _ => TransmitPolicy.L34 };
        Assert.Equal((uint)expected, TransmitHash.Compute(Convert.FromHexString(frame.Replace(" ", "")), which));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Hash_ManyFlows_UseAllMembersAndBothDirectionsAgree(bool v6)
    {
        var used = new int[3];
        for (int flow = 0; flow < 64; flow++)
        {
            byte[] there = new TestFrame(flow) { V6 = v6 }.Build(), back = Swap(there, v6);
            uint hash = TransmitHash.Compute(there, TransmitPolicy.L34);
            Assert.Equal(hash, TransmitHash.Compute(back, TransmitPolicy.L34));
            used[hash % 3]++;
        }
        Assert.All(used, count => Assert.InRange(count, 8, 40));
    }

    [Fact]
    public void Hash_AnyBytes_StaysInside()
    {
        var random = new Random(4);
        for (int i = 0; i < 100_000; i++)
        {
            var frame = new byte[random.Next(80)];
            random.NextBytes(frame);
            if (frame.Length > 20)
                (frame[12], frame[13]) = random.Next(3) switch
                {
                    0 => ((byte)0x08, (byte)0),
                    1 => ((byte)0x86, (byte)0xdd),
                    _ => ((byte)0x81, (byte)0),
                };
            foreach (TransmitPolicy policy in Enum.GetValues<TransmitPolicy>())
                Assert.InRange(TransmitHash.Compute(frame, policy), 0u, 255u);
        }
    }

    private static byte[] Swap(byte[] frame, bool v6)
    {
        byte[] other = [.. frame];
        int addresses = 14 + (v6 ? 8 : 12), bytes = v6 ? 16 : 4, ports = 14 + (v6 ? 40 : 20);
        frame.AsSpan(0, 6).CopyTo(other.AsSpan(6));
        frame.AsSpan(6, 6).CopyTo(other);
        frame.AsSpan(addresses, bytes).CopyTo(other.AsSpan(addresses + bytes));
        frame.AsSpan(addresses + bytes, bytes).CopyTo(other.AsSpan(addresses));
        frame.AsSpan(ports, 2).CopyTo(other.AsSpan(ports + 2));
        frame.AsSpan(ports + 2, 2).CopyTo(other.AsSpan(ports));
        return other;
    }
}
