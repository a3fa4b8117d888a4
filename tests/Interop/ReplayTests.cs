using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary><c>dpctl replay</c> onto a kernel interface, as tcpdump at its other end sees it.</summary>
public sealed partial class ReplayTests : IDisposable
{
    private readonly PcapFolder _folder = new();
    private readonly PcapRig _rig = new();

    public void Dispose()
    {
        _rig.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task Replay_ToAVeth_TcpdumpHasEveryByteAtItsTime()
    {
        Host.Require("tcpdump");
        using var lab = new NetLab();
        (string near, string far) = lab.AddVeth("r");
        // Uneven pauses, the last ones long: half a second altogether.
        List<TestPacket> packets = [.. Enumerable.Range(0, 300).Select(i => new TestPacket(
            1_790_000_000_000_000_000 + (ulong)(i * (long)i) * 5_600,
            DriverRig.Expected((uint)i, 60 + i * 37 % 1400)))];
        File.WriteAllBytes(_folder["in"], PcapBytes.File(packets, new TestFormat(Ng: true, Nano: true)));
        List<TestPacket> seen;
        AppResult result;
        using (System.Diagnostics.Process tcpdump = Programs.Start("tcpdump", "-i", far, "-Q", "in", "-w",
            _folder["seen"], "-U", "--time-stamp-precision=nano", "-B", "16384"))
        {
            while (await tcpdump.StandardError.ReadLineAsync() is { } line && !line.Contains("listening on"))
            {
            }
            _ = tcpdump.StandardError.ReadToEndAsync();
            result = AppProcess.Run("Dpctl", "replay", _folder["in"], "--port", $"net_af_packet0,iface={near}");
            Assert.True(result.Exit == 0, result.All);
            long all = 24 + packets.Sum(packet => 16L + packet.Bytes.Length);
            SpinWait.SpinUntil(() => new FileInfo(_folder["seen"]).Length >= all, TimeSpan.FromMinutes(1));
            AppProcess.Signal(tcpdump, AppProcess.SigInt);
            await tcpdump.WaitForExitAsync();
            seen = _rig.Read($"rx_pcap={_folder["seen"]}", out _);
        }
        Assert.Equal(packets.Select(packet => packet.Bytes), seen.Select(packet => packet.Bytes));

        // A packet passes the cable after it was due and before the port had taken it, so no interval is wrong by more
        // than the greatest error that was printed. 2 ms more: the two clocks' rates differ, and tcpdump's may be set.
        double most = double.Parse(Error().Match(result.Output).Groups[1].Value, CultureInfo.InvariantCulture) * 1e3;
        for (int i = 1; i < packets.Count; i++)
        {
            double wanted = packets[i].Nanoseconds - packets[0].Nanoseconds;
            double was = (double)(long)(seen[i].Nanoseconds - seen[0].Nanoseconds);
            Assert.True(Math.Abs(was - wanted) <= most + 2e6,
                $"packet {i}: {was - wanted} ns off, at most {most} printed\n{result.All}");
        }
        TestContext.Current.TestOutputHelper?.WriteLine(result.Output);
    }

    [GeneratedRegex(@"departure error, us: .*max ([0-9.]+)")]
    private static partial Regex Error();
}
