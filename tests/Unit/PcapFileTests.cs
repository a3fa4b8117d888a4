using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public sealed class PcapFileTests : IDisposable
{
    private readonly PcapFolder _folder = new();
    private readonly PcapRig _rig = new();

    public void Dispose()
    {
        _rig.Dispose();
        _folder.Dispose();
    }

    public static IEnumerable<ITheoryDataRow> Formats =>
        from ng in new[] { false, true }
        from nano in new[] { false, true }
        select new TheoryDataRow<bool, bool>(ng, nano);

    [Theory]
    [MemberData(nameof(Formats))]
    public void File_AnyPackets_AreReadAsTheyWereWritten(bool ng, bool nano)
    {
        Gen<TestPacket> packet =
            from seconds in Gen.OneOf(Gen.Choose(0, 3), Gen.Choose(0, int.MaxValue))
            from rest in Gen.Choose(0, 999_999_999)
            from length in Gen.OneOf(Gen.Choose(14, 64), Gen.Choose(60, 1514), Gen.Choose(2000, 9000),
                Gen.Constant(70_000))
            select new TestPacket((ulong)seconds * 2_000_000_000 + (ulong)rest, Bytes(length, seconds + rest));
        string file = _folder["any"];
        string format = $"format={(ng ? "pcapng" : "pcap")},nano={(nano ? 1 : 0)}";
        Prop.ForAll(packet.ListOf().ToArbitrary(), packets =>
        {
            PortStats sent = _rig.Write($"tx_pcap={file},{format}", packets, segment: 1000);
            List<TestPacket> read = _rig.Read($"rx_pcap={file}", out PortStats received);
            AssertSame(packets, read, nano);
            Assert.Equal((ulong)packets.Count, sent.TxPackets);
            Assert.Equal((sent.TxPackets, sent.TxBytes), (received.RxPackets, received.RxBytes));
            Assert.Equal(0ul, received.RxErrors);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(30));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void File_OfEitherByteOrder_IsRead(bool ng, bool nano)
    {
        foreach (bool swap in new[] { false, true })
            ReadBoth(new TestFormat(ng, swap, nano));
    }

    private void ReadBoth(TestFormat format)
    {
        List<TestPacket> packets = [.. Enumerable.Range(0, 300)
            .Select(i => new TestPacket(1_700_000_000_123_456_789 + (ulong)i * 1001, Bytes(14 + i * 7, i)))];
        File.WriteAllBytes(_folder["in"], PcapBytes.File(packets, format));
        AssertSame(packets, _rig.Read($"rx_pcap={_folder["in"]}", out _), format.Nano);
        using Port forEver = _rig.Start($"rx_pcap={_folder["in"]},infinite_rx=1");
        var burst = new Mbuf[32];
        for (int i = 0; i < 900;)
        {
            int received = forEver.RxQueues[0].RxBurst(burst);
            foreach (Mbuf mbuf in burst.AsSpan(0, received))
                Assert.Equal(packets[i++ % packets.Count].Bytes, DriverRig.BytesOf(mbuf));
            Mbuf.FreeBulk(burst.AsSpan(0, received));
        }
    }

    [Fact]
    public void PcapNg_EverythingTheDraftHas_IsReadOrPassedOver()
    {
        byte[] frame = Bytes(61, 1);
        byte[] little = new PcapBytes(swap: false).Section()
            .Block(0x0bad, b => b.Raw(new byte[700_000]))           // unknown, larger than the window
            .Interface(0x80 | 10, snap: 40)                         // 1/1024 s
            .Interface(6, offset: 100)
            .Interface(3, link: 113)                                // no Ethernet
            .Block(4, b => b.U32(0)).Block(5, b => b.U32(0).U32(1).U32(2))
            .Enhanced(new TestPacket(512, frame), 1)
            .Enhanced(new TestPacket(7_000_000_000, frame), 1000, number: 1, comment: true)
            .Enhanced(new TestPacket(1, frame), 1, number: 2)       // an error
            .Simple(frame[..40], 61)
            .ToArray();
        byte[] big = new PcapBytes(swap: true).Section().Interface(12)
            .Block(2, b => b.U16(0).U16(9).U32(0).U32(5_000_000).U32(60).U32(60).Raw(frame.AsSpan(0, 60)))
            .ToArray();
        File.WriteAllBytes(_folder["in"], [.. little, .. big]);
        using Port port = _rig.Start($"rx_pcap={_folder["in"]}");
        List<TestPacket> read = _rig.Receive(port);
        Assert.Equal([500_000_000, 107_000_000_000, 0, 5_000], read.Select(packet => packet.Nanoseconds));
        Assert.Equal([61, 61, 40, 60], read.Select(packet => packet.Bytes.Length));
        Assert.Equal(1ul, port.GetStats().RxErrors);
        Assert.Equal(1ul, port.GetXstats().Single(xstat => xstat.Name == "rx_q0_truncated").Value);
    }

    [Fact]
    public void Pcap_SpoiltRecord_EndsTheFileAsOneError()
    {
        int[] lengths = [60, 60, 5, 60];
        byte[] file = PcapBytes.File(lengths.Select(length => new TestPacket(0, Bytes(length, 1))), new TestFormat());
        File.WriteAllBytes(_folder["cut"], file[..^1]);
        List<TestPacket> read = _rig.Read($"rx_pcap={_folder["cut"]}", out PortStats stats);
        Assert.Equal((2, 2ul, 2ul), (read.Count, stats.RxPackets, stats.RxErrors));   // one is short, one is cut
    }

    [Theory]
    [InlineData("", 0, "neither pcap nor pcapng")]
    [InlineData("1f8b080000000000", 0, "compressed")]
    [InlineData("d4c3b2a102000400", 0, "ends within")]
    [InlineData("d4c3b2a1030004000000000000000000ffff000001000000", 0, "version")]
    [InlineData("d4c3b2a1020004000000000000000000ffff000071000000", 0, "no Ethernet")]
    [InlineData("d4c3b2a1020004000000000000000000ffff00000100000001", 24, "ends within")]
    [InlineData("d4c3b2a1020004000000000000000000ffff0000010000000000000000000000ffffffff00000000", 24, "claims more")]
    [InlineData("0a0d0d0a1c0000004d3c2b1b01000000ffffffffffffffff1c000000", 0, "byte-order")]
    [InlineData("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1d000000", 24, "lengths differ")]
    [InlineData("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000" + "0600000020000000", 28, "ends within")]
    [InlineData("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000" + "060000000900000009000000", 28, "length")]
    [InlineData("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000"
        + "030000001400000004000000aaaaaaaa14000000", 28, "interface")]
    public void File_ThatIsNoCapture_IsRefusedWithPlaceAndReason(string hex, int offset, string why)
    {
        File.WriteAllBytes(_folder["bad"], Convert.FromHexString(hex));
        foreach (string more in new[] { "", ",infinite_rx=1" })
        {
            var e = Assert.Throws<ConfigException>(() => _rig.Start($"rx_pcap={_folder["bad"]}{more}"));
            Assert.Contains(_folder["bad"], e.What);
            Assert.Contains($"at offset {offset}:", e.Why);
            Assert.Contains(why, e.Why);
        }
    }

    [Fact]
    public void Files_ThatCannotBeOpened_SayWhy()
    {
        Assert.Equal(Errno.ENOENT, Refusal($"rx_pcap={_folder["none"]}"));
        Assert.Equal(Errno.ENOENT, Refusal($"tx_pcap={_folder["no/a"]}"));
        Assert.Equal(Errno.EISDIR, Refusal($"tx_pcap={_folder.Path}"));
        Assert.Equal(Errno.ENOSPC, Refusal("tx_pcap=/dev/full"));
    }

    private Errno Refusal(string arguments) => Assert.Throws<DeviceException>(() => _rig.Start(arguments)).Errno;

    internal static byte[] Bytes(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    internal static void AssertSame(IReadOnlyList<TestPacket> wrote, IReadOnlyList<TestPacket> read, bool nano)
    {
        Assert.Equal(wrote.Count, read.Count);
        for (int i = 0; i < wrote.Count; i++)
        {
            ulong stamp = nano ? wrote[i].Nanoseconds : wrote[i].Nanoseconds / 1000 * 1000;
            Assert.Equal(stamp, read[i].Nanoseconds);
            Assert.Equal(wrote[i].Bytes, read[i].Bytes);
        }
    }
}
