using System.Globalization;

namespace Dataplane.Tests;

/// <summary>Files of ours read by other people's programs, and theirs by us.</summary>
public sealed class PcapInteropTests : IDisposable
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
    public void OurFile_ReadByTshark_HasOurPackets(bool ng, bool nano)
    {
        Programs.Require("tshark");
        List<TestPacket> packets = Write("ours", ng, nano);
        string[] lines = Programs.Run("tshark", "-n", "-r", _folder["ours"], "-T", "fields", "-e", "frame.time_epoch",
            "-e", "frame.cap_len", "-e", "frame.len").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(packets.Select(packet => (Stamp: Seconds(packet, nano), packet.Bytes.Length))
            .Select(packet => $"{packet.Stamp}\t{packet.Length}\t{packet.Length}"), lines.Select(line => line.Trim()));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void OurFile_ReadByTcpdump_HasOurPackets(bool ng, bool nano)
    {
        Programs.Require("tcpdump");
        List<TestPacket> packets = Write("ours", ng, nano);
        string[] lines = Programs.Run("tcpdump", "-r", _folder["ours"], "-n", "-tt", "-e", "--nano")
            .Split('\n').Where(line => line.Contains("length", StringComparison.Ordinal)).ToArray();
        Assert.Equal(packets.Select(packet => Seconds(packet, nano)), lines.Select(line => line.Split(' ')[0]));
        Assert.All(packets.Zip(lines), pair => Assert.Contains($"length {pair.First.Bytes.Length}", pair.Second));
    }

    [Theory]
    [InlineData("pcap")]
    [InlineData("nsecpcap")]
    [InlineData("pcapng")]
    public void EditcapsFile_ReadByUs_HasThePackets(string format)
    {
        Programs.Require("editcap");
        List<TestPacket> packets = Write("ours", ng: true, nano: true);
        Programs.Run("editcap", "-F", format, _folder["ours"], _folder["theirs"]);
        AssertSame(packets, _rig.Read($"rx_pcap={_folder["theirs"]}", out _), nano: format != "pcap");
    }

    [Theory]
    [InlineData("pcap")]
    [InlineData("pcapng")]
    public void Text2pcapsFile_ReadByUs_HasThePackets(string format)
    {
        Programs.Require("text2pcap");
        List<TestPacket> packets = Packets();
        File.WriteAllLines(_folder["hex"], packets.SelectMany(packet => packet.Bytes.Chunk(16).Select((row, i) =>
            $"{i * 16:x6} {BitConverter.ToString(row).Replace('-', ' ')}")));
        Programs.Run("text2pcap", "-q", "-F", format, _folder["hex"], _folder["theirs"]);
        Assert.Equal(packets.Select(packet => packet.Bytes),
            _rig.Read($"rx_pcap={_folder["theirs"]}", out _).Select(packet => packet.Bytes));
    }

    [Theory]
    [InlineData("micro")]
    [InlineData("nano")]
    public void TcpdumpsFile_ReadByUs_HasThePackets(string precision)
    {
        Programs.Require("tcpdump");
        List<TestPacket> packets = Write("ours", ng: true, nano: true);
        Programs.Run("tcpdump", "-r", _folder["ours"], "-w", _folder["theirs"], $"--time-stamp-precision={precision}");
        AssertSame(packets, _rig.Read($"rx_pcap={_folder["theirs"]}", out _), nano: precision == "nano");
    }

    [Fact]
    public async Task TestpmdOfDpdk_ReadsOurFileAndWritesOneWeRead_SamePackets()
    {
        Programs.Require("dpdk-testpmd");
        Assert.SkipUnless(Environment.ProcessorCount > 1, "needs two CPUs: testpmd has a main lcore of its own");
        List<TestPacket> packets = [.. Packets().Where(packet => packet.Bytes.Length <= 1518)];
        _rig.Write($"tx_pcap={_folder["in"]}", packets);
        string prefix = $"dataplane-pcap-{Environment.ProcessId}";
        using (System.Diagnostics.Process testpmd = Programs.Start("dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci",
            "--file-prefix", prefix, "-l", "0,1", "--vdev",
            $"net_pcap0,rx_pcap={_folder["in"]},tx_pcap={_folder["out"]}", "--", "--total-num-mbufs=2048",
            "--port-topology=loop", "--auto-start", "--no-lsc-interrupt", "--no-flush-rx"))
        {
            Task<string> output = testpmd.StandardOutput.ReadToEndAsync();
            Task<string> errors = testpmd.StandardError.ReadToEndAsync();
            long expected = new FileInfo(_folder["in"]).Length;
            SpinWait.SpinUntil(() => testpmd.HasExited || (File.Exists(_folder["out"])
                && new FileInfo(_folder["out"]).Length >= expected), TimeSpan.FromSeconds(120));
            testpmd.StandardInput.Close();   // its sign to end
            if (!testpmd.WaitForExit(120_000))
                testpmd.Kill();
            string said = await output + await errors;
            await testpmd.WaitForExitAsync();
            Assert.True(testpmd.ExitCode == 0, $"testpmd: exit {testpmd.ExitCode}\n{said}");
        }
        if (Directory.Exists($"/var/run/dpdk/{prefix}"))
            Directory.Delete($"/var/run/dpdk/{prefix}", recursive: true);
        List<TestPacket> read = _rig.Read($"rx_pcap={_folder["out"]}", out _);
        Assert.Equal(packets.Select(packet => packet.Bytes), read.Select(packet => packet.Bytes));
    }

    private List<TestPacket> Write(string name, bool ng, bool nano)
    {
        List<TestPacket> packets = Packets();
        PortStats stats = _rig.Write(
            $"tx_pcap={_folder[name]},format={(ng ? "pcapng" : "pcap")},nano={(nano ? 1 : 0)}", packets, segment: 700);
        Assert.Equal((ulong)packets.Count, stats.TxPackets);
        return packets;
    }

    private static List<TestPacket> Packets()
    {
        var packets = new List<TestPacket>();
        for (int i = 0; i < 400; i++)
        {
            byte[] bytes = DriverRig.Expected((uint)i, i == 200 ? 9000 : 60 + i * 37 % 1400);
            packets.Add(new TestPacket(1_790_000_000_000_000_007 + (ulong)i * 1_234_567_891, bytes));
        }
        return packets;
    }

    private static string Seconds(TestPacket packet, bool nano)
    {
        ulong rest = packet.Nanoseconds % 1_000_000_000;
        rest = nano ? rest : rest / 1000 * 1000;
        return $"{packet.Nanoseconds / 1_000_000_000}." + rest.ToString("D9", CultureInfo.InvariantCulture);
    }

    private static void AssertSame(List<TestPacket> wrote, List<TestPacket> read, bool nano)
    {
        Assert.Equal(wrote.Select(packet => packet.Bytes), read.Select(packet => packet.Bytes));
        Assert.Equal(wrote.Select(packet => nano ? packet.Nanoseconds : packet.Nanoseconds / 1000 * 1000),
            read.Select(packet => packet.Nanoseconds));
    }
}
