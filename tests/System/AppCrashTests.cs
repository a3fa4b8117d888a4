namespace Dataplane.Tests;

/// <summary>What a killed Forward leaves behind: nothing. Its next start works.</summary>
[Collection(HugepageCollection.Name)]
public sealed class AppCrashTests
{
    private const int Pages = 32;   // of 2 MB, for -m 64
    private static readonly string[] s_memory = ["-l", AppProcess.Lcores(1), "-m", "64"];

    private static string[] Files(params string[] folders) =>
        [.. folders.Where(Directory.Exists).SelectMany(Directory.GetFileSystemEntries)
            .Where(file => Path.GetFileName(file).StartsWith("crashtest", StringComparison.Ordinal)).Order()];

    [Fact]
    public void Forward_KilledInMidTraffic_LeavesNoPageFileOrInterface()
    {
        Host.Require();
        using var pages = new HugepageReservation(Pages);
        using var lab = new NetLab();
        (string near, _) = lab.AddVeth("k");
        string tap = lab.NewLink("kt");
        string[] eal = [.. s_memory, "--file-prefix", "crashtest", "--vdev", $"net_af_packet0,iface={near}", "--vdev",
            $"net_tap0,iface={tap}"];
        for (int run = 0; run < 2; run++)
        {
            using var forward = new ForwardProcess(eal, "--forward-mode", "txonly");
            Assert.Equal(0, pages.Free);
            Assert.Contains(tap, Host.Run("ip", "-o", "link"), StringComparison.Ordinal);
            forward.KillNine();
            Assert.True(pages.ComesBackTo(Pages), $"{pages.Free} of {Pages} pages came back");
            Assert.True(SpinWait.SpinUntil(() => !File.Exists($"/sys/class/net/{tap}/ifindex"),
                TimeSpan.FromSeconds(60)), "the tap is still there");
            Assert.Empty(Files("/var/run", "/run", "/tmp", "/dev/shm", "/dev/hugepages", "/var/run/dataplane"));
        }
        using var last = new ForwardProcess(eal, "--forward-mode", "txonly");
        last.Stop();
        Assert.True(pages.ComesBackTo(Pages), $"{pages.Free} of {Pages} pages came back");
    }

    [Fact]
    public void Forward_KilledWithNamedFiles_ItsNextStartTakesThemAndLeavesNone()
    {
        Host.Require();
        using var pages = new HugepageReservation(Pages);
        string folder = Directory.CreateTempSubdirectory("dataplane-huge").FullName;
        Host.Run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", folder);
        try
        {
            string[] eal = [.. s_memory, "--file-prefix", "crashtest", "--huge-dir", folder, "--vdev", "net_null0",
                "--vdev", "net_null1"];
            using (var forward = new ForwardProcess(eal))
                forward.KillNine();
            Assert.NotEmpty(Directory.GetFiles(folder));
            using (var forward = new ForwardProcess(eal))
                forward.Stop();
            Assert.Empty(Directory.GetFiles(folder));
            Assert.True(pages.ComesBackTo(Pages), $"{pages.Free} of {Pages} pages came back");
        }
        finally
        {
            Host.Run("umount", folder);
            Directory.Delete(folder);
        }
    }

    [Fact]
    public void Forward_InterfaceDeleted_GoesOnSaysSoAndStopsWithAllAccountedFor()
    {
        Host.Require();
        using var lab = new NetLab();
        (string left, _) = lab.AddVeth("vl");
        (string right, _) = lab.AddVeth("vr");
        using var forward = new ForwardProcess(["--no-huge", "-l", AppProcess.Lcores(1), "--vdev",
            $"net_af_packet0,iface={left}",
            "--vdev", $"net_af_packet1,iface={right}"], "--forward-mode", "txonly");
        Host.Run("ip", "link", "del", right);
        Assert.True(SpinWait.SpinUntil(() => forward.Output.Contains("link down",
            StringComparison.Ordinal),
            TimeSpan.FromSeconds(60)), forward.Output);
        System.Text.Json.JsonElement packets = forward.Stop().GetProperty("packets");
        Assert.Equal(0, packets.Long("unaccounted"));
        Assert.True(packets.Long("droppedTxFull") > 0, forward.Output);
    }
}
