using System.Buffers.Binary;
using Dataplane.Net;
using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public class ChecksumTests
{
    [Fact]
    public void RawSum_Rfc1071Example_IsDdf2()
    {
        // RFC 1071 §3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
        byte[] data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        Assert.Equal(0xddf2, Be16.FromRaw(Checksum.Raw(data)).Value);
    }

    [Fact]
    public void RawSum_EveryLengthAndAlignment_TwinsEqualReference()
    {
        byte[] buffer = new byte[2100];
        new Random(1).NextBytes(buffer);
        for (int length = 0; length <= 2000; length++)
        {
            ReadOnlySpan<byte> data = buffer.AsSpan(length & 63, length);
            ushort expected = Reference(data);
            Assert.Equal(expected, Be16.FromRaw(RawSum.Fold(RawSum.OfScalar(data))).Value);
            Assert.Equal(expected, Be16.FromRaw(RawSum.Fold(RawSum.OfVector(data))).Value);
        }
    }

    [Fact]
    public void RawSum_AllOnes_CarriesComeRound()
    {
        byte[] data = new byte[65535];
        data.AsSpan().Fill(0xff);
        Assert.Equal(Reference(data), Be16.FromRaw(Checksum.Raw(data)).Value);
        Assert.Equal(Reference(data), Be16.FromRaw(RawSum.Fold(RawSum.OfScalar(data))).Value);
    }

    [Fact]
    public void Fold_Extremes_FollowModulo65535()
    {
        foreach (ulong sum in (ulong[])[0, 1, 0xffff, 0x10000, 0x1fffe, 0xffff_ffff, 0x1_0000_ffff, ulong.MaxValue - 1,
            ulong.MaxValue, 0xffff_0000_ffff_0000])
        {
            ulong modulo = sum % 0xffff;
            int expected = sum != 0 && modulo == 0 ? 0xffff : (int)modulo;
            Assert.Equal(expected, RawSum.Fold(sum));
        }
    }

    [Fact]
    public void IPv4_KnownHeader_MatchesAndVerifies()
    {
        byte[] header = Convert.FromHexString("450000730000400040110000c0a80001c0a800c7");
        ref IPv4Header ip = ref header.AsSpan().HeaderAt<IPv4Header>();
        Assert.Equal(0xb861, Checksum.IPv4(in ip).Value);
        Assert.Equal(0xb861, Checksum.IPv4(header).Value);
        Assert.False(Checksum.VerifyIPv4(header));
        ip.Checksum = Checksum.IPv4(in ip);
        Assert.Equal(0xb861, Checksum.IPv4(in ip).Value);      // the field itself does not count
        Assert.True(Checksum.VerifyIPv4(header));
    }

    [Fact]
    public void TryDecrementTimeToLive_AnyHeader_KeepsChecksumRight()
    {
        byte[] header = Convert.FromHexString("45000073000040004011b861c0a80001c0a800c7");
        Prop.ForAll(ArbMap.Default.ArbFor<ulong>(), random =>
        {
            BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(12), random);
            header[8] = (byte)(random >> 5 | 2);
            ref IPv4Header ip = ref header.AsSpan().HeaderAt<IPv4Header>();
            ip.Checksum = Checksum.IPv4(in ip);
            return ip.TryDecrementTimeToLive() && Checksum.VerifyIPv4(header)
                && header[8] == (byte)((random >> 5 | 2) - 1);
        }).QuickCheckThrowOnFailure();
        header.AsSpan().HeaderAt<IPv4Header>().TimeToLive = 1;
        Assert.False(header.AsSpan().HeaderAt<IPv4Header>().TryDecrementTimeToLive());
    }

    [Fact]
    public void Update_AnyFieldChange_EqualsRecomputation()
    {
        Prop.ForAll(ArbMap.Default.ArbFor<ulong>(), ArbMap.Default.ArbFor<uint>(), (content, change) =>
        {
            byte[] bytes = new byte[12];
            BinaryPrimitives.WriteUInt64BigEndian(bytes, content | 1);
            Be16 before = Checksum.Finish(Checksum.Raw(bytes));
            Be32 old = BinaryPrimitives.ReadUInt32BigEndian(bytes);
            BinaryPrimitives.WriteUInt32BigEndian(bytes, change);
            Be16 expected = Checksum.Finish(Checksum.Raw(bytes));
            Be16 whole = Checksum.Update(before, old, change);
            Be16 halves = Checksum.Update(Checksum.Update(before, (Be16)(ushort)(old >> 16), (ushort)(change >> 16)),
                (Be16)(ushort)old, (ushort)change);
            return whole == expected && halves == expected;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void UdpTcp_IPv4Packet_VerifiesAndCatchesEveryBitFlip()
    {
        byte[] packet = new byte[20 + 8 + 33];
        new Random(3).NextBytes(packet);
        ref IPv4Header ip = ref packet.AsSpan().HeaderAt<IPv4Header>();
        ip.Protocol = IPProtocols.Udp;
        Span<byte> l4 = packet.AsSpan(20);
        ref UdpHeader udp = ref l4.HeaderAt<UdpHeader>();
        udp.Checksum = 0;
        Assert.True(Checksum.VerifyUdpTcp(in ip, l4));         // 0 = none made
        udp.Checksum = Checksum.UdpTcp(in ip, l4);
        Assert.True(Checksum.VerifyUdpTcp(in ip, l4));
        for (int bit = 0; bit < l4.Length * 8; bit++)
        {
            l4[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.False(Checksum.VerifyUdpTcp(in ip, l4));
            l4[bit / 8] ^= (byte)(1 << bit % 8);
        }
    }

    [Fact]
    public void UdpTcp_SumOfZero_IsFfffForUdpAndZeroForTcp()
    {
        byte[] packet = new byte[28];
        ref IPv4Header ip = ref packet.AsSpan().HeaderAt<IPv4Header>();
        Span<byte> l4 = packet.AsSpan(20);
        ip.Protocol = IPProtocols.Udp;
        // Pseudo-header sums to 17 + 8; a port field of the complement makes the whole 0xffff.
        l4.HeaderAt<UdpHeader>().SourcePort = unchecked((ushort)~25);
        Assert.Equal(0xffff, Checksum.UdpTcp(in ip, l4).Value);
        Assert.Equal(0xffff, IPv6Twin(IPProtocols.Udp, unchecked((ushort)~25), l4).Value);
        ip.Protocol = IPProtocols.Tcp;
        l4.HeaderAt<UdpHeader>().SourcePort = unchecked((ushort)~14);
        Assert.Equal(0, Checksum.UdpTcp(in ip, l4).Value);
    }

    [Fact]
    public void UdpTcp_IPv6_ZeroChecksumIsWrongForUdp()
    {
        byte[] packet = new byte[40 + 16];
        new Random(4).NextBytes(packet);
        ref IPv6Header ip = ref packet.AsSpan().HeaderAt<IPv6Header>();
        Span<byte> l4 = packet.AsSpan(40);
        ref UdpHeader udp = ref l4.HeaderAt<UdpHeader>();
        udp.Checksum = 0;
        Assert.False(Checksum.VerifyUdpTcp(in ip, IPProtocols.Udp, l4));
        udp.Checksum = Checksum.UdpTcp(in ip, IPProtocols.Udp, l4);
        Assert.True(Checksum.VerifyUdpTcp(in ip, IPProtocols.Udp, l4));
        Assert.False(Checksum.VerifyUdpTcp(in ip, IPProtocols.Tcp, l4));
    }

    [Fact]
    public void TryRaw_ChainOfOddSegments_EqualsFlatSum()
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "cksum", 8);
        byte[] flat = new byte[503];
        new Random(5).NextBytes(flat);
        var segments = new Mbuf[5];
        Assert.True(pool.TryAllocBulk(segments));
        Chain(segments, flat, [1, 100, 33, 0, 369]);
        for (int offset = 0; offset < 140; offset++)
            for (int length = 0; length <= flat.Length - offset; length += 7)
            {
                Assert.True(Checksum.TryRaw(segments[0], offset, length, out ushort sum));
                Assert.Equal(Reference(flat.AsSpan(offset, length)), Be16.FromRaw(sum).Value);
            }
        Assert.False(Checksum.TryRaw(segments[0], 0, 504, out _));
        Assert.False(Checksum.TryRaw(segments[0], 504, 1, out _));
        Assert.False(Checksum.TryRaw(segments[0], -1, 1, out _));
        Assert.False(Checksum.TryRaw(segments[0], 0, -1, out _));
        segments[0].Free();
    }

    private static Be16 IPv6Twin(byte protocol, ushort port, ReadOnlySpan<byte> l4)
    {
        var ip = default(IPv6Header);
        Span<byte> copy = l4.ToArray();
        copy.HeaderAt<UdpHeader>().SourcePort = port;
        return Checksum.UdpTcp(in ip, protocol, copy);
    }

    private static unsafe void Chain(Mbuf[] segments, byte[] flat, int[] lengths)
    {
        int at = 0;
        for (int i = 0; i < segments.Length; i++)
        {
            MbufHeader* header = segments[i].Header;
            header->DataLen = (ushort)lengths[i];
            flat.AsSpan(at, lengths[i]).CopyTo(segments[i].Data);
            at += lengths[i];
            header->Next = i + 1 < segments.Length ? segments[i + 1].Header : null;
        }
        segments[0].Header->NbSegs = (ushort)segments.Length;
        segments[0].Header->PktLen = (uint)at;
    }

    /// <summary>RFC 1071 as written: big-endian words, folded at the end.</summary>
    private static ushort Reference(ReadOnlySpan<byte> data)
    {
        ulong sum = 0;
        for (int i = 0; i < data.Length; i++)
            sum += (ulong)data[i] << ((i & 1) == 0 ? 8 : 0);
        while (sum >> 16 != 0)
            sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)sum;
    }
}
