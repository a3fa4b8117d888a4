using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>dpctl capture on a running Forward, read by tshark.</summary>
public sealed class CaptureInteropTests : IDisposable
{
    private const ushort Flow = 4321;

    private readonly PcapFolder _folder = new();
    private readonly string _prefix = $"taps-{Guid.NewGuid():N}";

    public void Dispose() => _folder.Dispose();

    /// <summary>Two ports that play files which grow: all packets of the flow are in the capture, as they came in and
    /// as they went out, and nothing else.</summary>
    [Fact]
    public void EveryPacketOfTheFlow_IsInTheCapture_AsTsharkReadsIt()
    {
        Programs.Require("tshark");
        Programs.Require("capinfos");
        List<TestPacket> packets = Packets(6000);
        File.WriteAllBytes(_folder["in"], PcapBytes.File([], new TestFormat()));
        File.WriteAllBytes(_folder["none"], PcapBytes.File([], new TestFormat()));
        using Process forward = StartForward("--vdev", $"net_pcap0,rx_pcap={_folder["in"]},follow=1", "--vdev",
            $"net_pcap1,rx_pcap={_folder["none"]},follow=1,tx_pcap={_folder["out"]}");
        AppResult captured;
        try
        {
            using (Process capture = StartCapture("-w", _folder["cap"], "udp", "port", $"{Flow}"))
            {
                File.AppendAllBytes(_folder["in"], [.. PcapBytes.File(packets, new TestFormat()).Skip(24)]);
                WaitFor(() => Told("/ethdev/stats,1").GetProperty("opackets").GetInt32() == packets.Count);
                AppProcess.Signal(capture, AppProcess.SigInt);
                captured = AppProcess.End(capture);
            }
        }
        finally
        {
            AssertEndsWell(forward);
        }
        int expected = packets.Count(packet => IsFlow(packet));
        Assert.True(captured.Exit == 0, captured.All);
        Assert.Contains($"{(2 * expected).ToString("N0", CultureInfo.InvariantCulture)} packets captured",
            captured.Errors, StringComparison.Ordinal);
        Assert.Contains("0 packets dropped", captured.Errors, StringComparison.Ordinal);
        string[] lines = Lines(Programs.Run("tshark", "-n", "-r", _folder["cap"], "-T", "fields", "-e",
            "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "udp.dstport", "-e", "udp.payload"));
        foreach ((string port, string direction) in (ReadOnlySpan<(string, string)>)
            [("net_pcap0", "0x00000001"), ("net_pcap1", "0x00000002")])
            Assert.Equal(packets.Where(IsFlow).Select(packet => $"{direction}\t{Flow}\t"
                + Convert.ToHexStringLower(packet.Bytes.AsSpan(42))),
                lines.Where(line => line.StartsWith(port + "\t", StringComparison.Ordinal))
                    .Select(line => line[(port.Length + 1)..].TrimEnd()));
        Assert.Equal(2 * expected, lines.Length);
        string facts = Programs.Run("capinfos", _folder["cap"]);
        foreach (string fact in (string[])["Name = net_pcap0", "Name = net_pcap1", $"udp port {Flow}",
            "Time precision = nanoseconds (9)", "dpctl capture, Dataplane", "Number of stat entries = 1",
            "Strict time order:   True"])
            Assert.True(facts.Contains(fact, StringComparison.Ordinal), $"'{fact}' is not in: {facts}");
    }

    [Fact]
    public async Task LiveIntoTshark_WhileTrafficRuns_EachPacketIsRead()
    {
        Programs.Require("tshark");
        const int count = 2000;
        using Process forward = StartWire();
        try
        {
            WaitFor(() => Told("/ethdev/stats,1").GetProperty("ipackets").GetInt64() > 0);
            using Process capture = Capture("-w", "-", "-i", "net_wire1", "--direction", "rx", "-c", $"{count}", "udp");
            using Process tshark = Programs.Start("tshark", "-n", "-l", "-i", "-", "-T", "fields", "-e",
                "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "ip.proto");
            Task<string> said = capture.StandardError.ReadToEndAsync(), read = tshark.StandardOutput.ReadToEndAsync(),
                errors = tshark.StandardError.ReadToEndAsync();
            await capture.StandardOutput.BaseStream.CopyToAsync(tshark.StandardInput.BaseStream);
            tshark.StandardInput.Close();
            await tshark.WaitForExitAsync();
            await capture.WaitForExitAsync();
            Assert.True((capture.ExitCode, tshark.ExitCode) == (0, 0), await said + await errors);
            string[] lines = Lines(await read);
            Assert.Equal(count, lines.Length);
            Assert.Equal(["net_wire1\t0x00000001\t17"], lines.Select(line => line.TrimEnd()).Distinct());
            Assert.Contains("2,000 packets captured", await said, StringComparison.Ordinal);
        }
        finally
        {
            AssertEndsWell(forward);
        }
    }

    [Fact]
    public void CaptureKilled_ForwardGoesOn_AndMemoryAndFilesComeBack()
    {
        using Process forward = StartWire();
        try
        {
            WaitFor(() => Told("/ethdev/stats,1").GetProperty("ipackets").GetInt64() > 0);
            int files = Files(forward);
            for (int run = 0; run < 3; run++)
            {
                using Process capture = StartCapture("-w", _folder[$"killed{run}"]);
                WaitFor(() => new FileInfo(_folder[$"killed{run}"]).Length > 1_000_000);
                Assert.True(IsMapped(forward));
                AppProcess.Signal(capture, AppProcess.SigKill);
                capture.WaitForExit();
                WaitFor(() => !IsMapped(forward) && Files(forward) <= files);
            }
            long before = Told("/ethdev/stats,1").GetProperty("ipackets").GetInt64();
            WaitFor(() => Told("/ethdev/stats,1").GetProperty("ipackets").GetInt64() > before);
        }
        finally
        {
            AssertEndsWell(forward);
        }
    }

    [Fact]
    public void Rotation_EachFileIsWhole_AndTheLastAreKept()
    {
        Programs.Require("tshark");
        using Process forward = StartWire();
        try
        {
            using Process capture = Capture("-w", _folder["r.pcapng"], "-C", "1", "-W", "3", "-c", "40000", "-i", "1");
            AppResult result = AppProcess.End(capture);
            Assert.True(result.Exit == 0, result.All);
        }
        finally
        {
            AssertEndsWell(forward);
        }
        string[] files = [.. Directory.GetFiles(_folder.Path, "r_*.pcapng").Order(StringComparer.Ordinal)];
        Assert.Equal(3, files.Length);
        Assert.DoesNotContain("_00001_", files[0], StringComparison.Ordinal);
        foreach (string file in files)
        {
            Assert.True(Programs.Run("tshark", "-n", "-r", file).Length > 0);
            Assert.Contains("Number of stat entries = 1", Programs.Run("capinfos", file), StringComparison.Ordinal);
            Assert.InRange(new FileInfo(file).Length, 1, 1_010_000);
        }
    }

    [Fact]
    public void ApplicationThatEnds_EndsTheCapture_WhichIsWhole()
    {
        Programs.Require("tshark");
        Process? capture = null;
        using (Process forward = StartWire())
        {
            try
            {
                capture = StartCapture("-w", _folder["end"], "-i", "1", "--direction", "rx");
                WaitFor(() => new FileInfo(_folder["end"]).Length > 100_000);
            }
            finally
            {
                AssertEndsWell(forward);
            }
        }
        AppResult result = AppProcess.End(capture!);
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("the application ended", result.Errors, StringComparison.Ordinal);
        string written = result.Errors.Split('\n').Single(line => line.EndsWith("captured",
            StringComparison.Ordinal)).Split(' ')[0];
        Assert.Equal(int.Parse(written, NumberStyles.AllowThousands, CultureInfo.InvariantCulture),
            Lines(Programs.Run("tshark", "-n", "-r", _folder["end"])).Length);
    }

    [Fact]
    public void WrongUse_IsToldWithoutAStackTrace()
    {
        void Fails(string word, params string[] arguments)
        {
            AppResult result = AppProcess.Run("Dpctl", ["capture", "--file-prefix", _prefix, .. arguments]);
            Assert.True(result.Exit == 2 && result.Errors.Contains(word, StringComparison.Ordinal), result.All);
            Assert.DoesNotContain("   at ", result.Errors, StringComparison.Ordinal);
        }
        Fails("no application to attach to", "-w", _folder["x"]);
        Fails("--write", "udp");
        Fails("pcap-filter", "-w", _folder["x"], "udp", "porta", "7");
        Fails("power of two", "-w", _folder["x"], "-B", "3");
        Fails("cannot be rotated", "-w", "-", "-C", "1");
    }

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private Process StartForward(params string[] vdevs) => StartForward(vdevs, []);

    /// <summary>A cable that carries 20,000 packets a second, one end sending UDP.</summary>
    private Process StartWire() => StartForward(["--vdev", "net_wire0,pps=20k", "--vdev", "net_wire1,pps=20k"],
        ["--forward-mode", "flowgen"]);

    private Process StartForward(string[] vdevs, string[] own)
    {
        Process forward = AppProcess.Start("Forward", ["--no-huge", "--no-pci", "--file-prefix", _prefix, "-l",
            AppProcess.Lcores(1), .. vdevs, "--", "--stats-period", "0", .. own]);
        try
        {
            WaitFor(() => forward.HasExited || IsUp());
            Assert.False(forward.HasExited, forward.HasExited ? forward.StandardError.ReadToEnd() : "");
            return forward;
        }
        catch
        {
            forward.Kill();
            throw;
        }
    }

    private bool IsUp()
    {
        try
        {
            return File.Exists(Socket) && Told("/ethdev/list") is { ValueKind: JsonValueKind.Array } list
                && list.GetArrayLength() == 2;
        }
        catch (System.Net.Sockets.SocketException)
        {
            return false;   // bound, and not listening yet
        }
    }

    private string Socket => TelemetrySocket.RuntimeDirectory(_prefix) + "/dpdk_telemetry.v2";

    private static void AssertEndsWell(Process forward)
    {
        AppProcess.Signal(forward, AppProcess.SigInt);
        AppResult result = AppProcess.End(forward);
        Assert.True(result.Exit == 0 && result.Output.Contains("every packet accounted for", StringComparison.Ordinal)
            && result.Output.Contains(" 0 bytes allocated", StringComparison.Ordinal), result.All);
    }

    private Process Capture(params string[] arguments) =>
        AppProcess.Start("Dpctl", ["capture", "--file-prefix", _prefix, .. arguments]);

    /// <summary>Starts it, and waits until it captures.</summary>
    private Process StartCapture(params string[] arguments)
    {
        Process capture = Capture(arguments);
        string? line = capture.StandardError.ReadLine();
        Assert.StartsWith("capturing net_", line, StringComparison.Ordinal);
        return capture;
    }

    private JsonElement Told(string command)
    {
        using var client = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix,
            System.Net.Sockets.SocketType.Seqpacket, System.Net.Sockets.ProtocolType.Unspecified);
        byte[] buffer = new byte[16384];
        client.Connect(new System.Net.Sockets.UnixDomainSocketEndPoint(Socket));
        client.Receive(buffer);
        client.Send(System.Text.Encoding.ASCII.GetBytes(command));
        return JsonDocument.Parse(buffer.AsMemory(0, client.Receive(buffer))).RootElement
            .GetProperty(command.Split(',')[0]);
    }

    private static bool IsMapped(Process process) =>
        File.ReadAllText($"/proc/{process.Id}/maps").Contains("dataplane:capture", StringComparison.Ordinal);

    /// <summary>Open files, but for assemblies, of which the first capture loads some.</summary>
    private static int Files(Process process) => new DirectoryInfo($"/proc/{process.Id}/fd").GetFiles()
        .Count(file => file.LinkTarget?.EndsWith(".dll", StringComparison.Ordinal) == false);

    private static void WaitFor(Func<bool> condition) =>
        Assert.True(SpinWait.SpinUntil(condition, TimeSpan.FromMinutes(3)), "it did not come about");

    private static bool IsFlow(TestPacket packet) => packet.Bytes[36] == Flow >> 8 && packet.Bytes[37] == (Flow & 0xff);

    // Every other one is of the flow.
    private static List<TestPacket> Packets(int count)
    {
        var packets = new List<TestPacket>();
        for (int i = 0; i < count; i++)
        {
            byte[] bytes = DriverRig.Expected((uint)i, 60 + i * 37 % 1400);
            (bytes[36], bytes[37]) = i % 2 == 0 ? ((byte)(Flow >> 8), (byte)(Flow & 0xff)) : ((byte)0, (byte)9);
            packets.Add(new TestPacket(1_790_000_000_000_000_000 + (ulong)i * 1000, bytes));
        }
        return packets;
    }
}
