using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Dataplane.Net;
using FsCheck;
using FsCheck.Fluent;
using IPv4Address = Dataplane.Net.IPv4Address;
using IPv6Address = Dataplane.Net.IPv6Address;

namespace Dataplane.Tests;

public class NetToeplitzTests
{
    private static readonly MacAddress s_a = MacAddress.Local(1), s_b = MacAddress.Local(2);

    /// <summary>The published RSS verification suite: source, destination, ports, hash without and with
    /// ports.</summary>
    [Theory]
    [InlineData("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323e8fc2, 0x51ccc178)]
    [InlineData("199.92.111.2", 14230, "65.69.140.83", 4739, 0xd718262a, 0xc626b0ea)]
    [InlineData("24.19.198.95", 12898, "12.22.207.184", 38024, 0xd2d0a5de, 0x5c2b394a)]
    [InlineData("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xafc7327f)]
    [InlineData("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5d1809c5, 0x10e828a2)]
    [InlineData("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc18cd5, 0x40207d3d)]
    [InlineData("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c461c, 0xdde51bbf)]
    [InlineData("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4b61e985,
        0x02d1feef)]
    public void Hash_VerificationSuite_Matches(string source, int sourcePort, string destination, int destinationPort,
        uint withoutPorts, uint withPorts)
    {
        var (sport, dport) = ((ushort)sourcePort, (ushort)destinationPort);
        Toeplitz t = Toeplitz.Default;
        byte[] frame;
        if (IPv4Address.TryParse(source, out IPv4Address from))
        {
            IPv4Address to = IPv4Address.Parse(destination);
            Assert.Equal((withoutPorts, withPorts), (t.Hash(from, to), t.Hash(from, to, sport, dport)));
            frame = PacketTemplate.Udp4(s_a, s_b, from, to, sport, dport, 60).Frame.ToArray();
            Assert.Equal(withPorts, RssHash.Compute(frame));
            frame.AsSpan().HeaderAt<IPv4Header>(14).FragmentField = IPv4Header.MoreFragmentsFlag;
        }
        else
        {
            IPv6Address from6 = IPv6Address.Parse(source), to6 = IPv6Address.Parse(destination);
            Assert.Equal((withoutPorts, withPorts), (t.Hash(from6, to6), t.Hash(from6, to6, sport, dport)));
            frame = PacketTemplate.Udp6(s_a, s_b, from6, to6, sport, dport, 80).Frame.ToArray();
            Assert.Equal(withPorts, RssHash.Compute(frame));
            frame.AsSpan().HeaderAt<IPv6Header>(14).NextHeader = IPProtocols.NoNext;
        }
        Assert.Equal(withoutPorts, RssHash.Compute(frame));
        frame.AsSpan().HeaderAt<EtherHeader>().EtherType = EtherTypes.Arp;
        Assert.Equal(0u, RssHash.Compute(frame));
    }

    [Fact]
    public void Hash_AnyTupleAndKey_TwinsEqualDefinition()
    {
        var random = new Random(11);
        foreach (int keyBytes in (int[])[40, 44, 52])
            for (int i = 0; i < 300; i++)
            {
                byte[] key = new byte[keyBytes], tuple = new byte[random.Next(keyBytes / 4) * 4];
                random.NextBytes(key);
                random.NextBytes(tuple);
                var toeplitz = new Toeplitz(key);
                uint expected = Reference(key, tuple);
                Assert.Equal(expected, toeplitz.Hash(tuple));
                Assert.Equal(expected, toeplitz.HashScalar(MemoryMarshal.Cast<byte, Be32>(tuple)));
            }
    }

    [Fact]
    public void HashClmul_OnThisMachine_EqualsScalar()
    {
        Assert.SkipUnless(Pclmulqdq.IsSupported, "this CPU has no PCLMULQDQ; run on any x86-64 of the last ten years");
        Prop.ForAll(ArbMap.Default.ArbFor<ulong>(), ArbMap.Default.ArbFor<uint>(), (a, b) =>
        {
            Be32[] words = [(uint)a, (uint)(a >> 32), b];
            return Toeplitz.Default.HashClmul(words) == Toeplitz.Default.HashScalar(words);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Hash_SymmetricKey_IsSameBothWays()
    {
        var toeplitz = new Toeplitz(Toeplitz.SymmetricKey);
        Prop.ForAll(ArbMap.Default.ArbFor<ulong>(), ArbMap.Default.ArbFor<uint>(), (addresses, ports) =>
        {
            var (a, b) = (new IPv4Address((uint)addresses), new IPv4Address((uint)(addresses >> 32)));
            var (p, q) = ((ushort)ports, (ushort)(ports >> 16));
            return toeplitz.Hash(a, b, p, q) == toeplitz.Hash(b, a, q, p) && toeplitz.Hash(a, b) == toeplitz.Hash(b, a);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Toeplitz_BadLengths_AreRefused()
    {
        Assert.Throws<ArgumentException>(() => new Toeplitz(new byte[36]));
        Assert.Throws<ArgumentException>(() => new Toeplitz(new byte[41]));
        Assert.Throws<ArgumentException>(() => new Toeplitz(new byte[56]));
        Assert.Throws<ArgumentException>(() => Toeplitz.Default.Hash(new byte[6]));
        Assert.Throws<ArgumentException>(() => Toeplitz.Default.Hash(new byte[40]));
    }

    [Fact]
    public void RedirectionTable_ManyFlows_SpreadsOverAllQueues()
    {
        var table = new RedirectionTable(queues: 4);
        PacketTemplate template = PacketTemplate.Udp4(s_a, s_b, new IPv4Address(10, 0, 0, 1),
            new IPv4Address(10, 1, 0, 1), 1024, 9, 60);
        var counts = new int[4];
        byte[] frame = new byte[60];
        for (int flow = 0; flow < 4096; flow++)
        {
            template.CopyTo(frame, flow);
            counts[table.QueueOf(RssHash.Compute(frame))]++;
        }
        Assert.All(counts, count => Assert.InRange(count, 800, 1250));
        table.Entries.Fill(3);
        Assert.Equal(3, table.QueueOf(0x12345678));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RedirectionTable(2, 100));
        Assert.Throws<ArgumentOutOfRangeException>(() => new RedirectionTable(0));
    }

    private static uint Reference(byte[] key, byte[] tuple)
    {
        uint hash = 0;
        for (int bit = 0; bit < tuple.Length * 8; bit++)
        {
            if ((tuple[bit / 8] & 0x80 >> bit % 8) == 0)
                continue;
            for (int k = 0; k < 32; k++)
                hash ^= ((uint)key[(bit + k) / 8] >> (7 - (bit + k) % 8) & 1) << (31 - k);
        }
        return hash;
    }
}
