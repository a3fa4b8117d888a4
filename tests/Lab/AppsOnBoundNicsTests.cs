using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Applications on bound NICs, with nothing changed but their options.</summary>
[Guest(Machines.Intel612)]
public sealed class AppsOnBoundNicsTests(ITestOutputHelper output)
{
    private static string[] Eal(string model, string lcores = "0,1")
    {
        (string first, string second) = Guest.Pair(model);
        return ["-l", lcores, "-m", "64", "--iommu-backend", "iommufd", "-a", first, "-a", second];
    }

    [Fact]
    public void Throughput_BetweenTwoNics_FindsARateWithoutLoss() => AssertThroughput([]);

    [Fact]
    public void Throughput_AsOrdinaryUser_AfterOneCommand()
    {
        const string Limits = "/etc/security/limits.d";
        (string first, string second) = Guest.Pair("igb");
        string[] login = ["runuser", "-u", "nobody", "--"];    // by PAM, which sets the limits of a login
        string mode = Host.Run("stat", "-c", "%a", "/dev/iommu").Trim();
        Host.Run("mount", "-t", "tmpfs", "tmpfs", Limits);    // the machine's own is read-only
        try
        {
            AppResult bound = AppProcess.Run("Dpctl", "bind", first, second, "--user", "nobody");
            Assert.True(bound.Exit == 0, bound.All);
            output.WriteLine(bound.Output);
            output.WriteLine(Host.Run(login[0], [.. login[1..], "sh", "-c", "id -un; echo memlock $(ulimit -l)"]));
            AssertThroughput(login);
        }
        finally
        {
            Host.Run("umount", Limits);
            Host.Run("sh", "-c", "chown root /dev/vfio/[0-9]* /dev/vfio/devices/*");
            Host.Run("chmod", mode, "/dev/iommu");
        }
    }

    [Fact]
    public void HelloWorld_WithBoundNics_GreetsFromEachLcore()
    {
        AppResult result = AppProcess.Run("HelloWorld", Eal("igb"));
        output.WriteLine(result.All);
        Assert.Equal(0, result.Exit);
        Assert.Contains("hello from lcore 0 (Main)", result.Output, StringComparison.Ordinal);
        Assert.Contains("hello from lcore 1 (Worker)", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Forward_OnBoundNics_SleepsWhileNothingComes()
    {
        (AppResult result, JsonElement report) = AppProcess.RunWithReport("Forward", Eal("igb"), "--duration", "3",
            "--stats-period", "0", "--rx-interrupts");
        output.WriteLine(result.All);
        Assert.Equal(0, result.Exit);
        foreach (JsonElement lcore in report.GetProperty("lcores").EnumerateArray())
        {
            Assert.InRange(lcore.Long("sleeps"), 5, 1000);
            Assert.Equal(0, lcore.Long("allocatedBytes"));
        }
    }

    /// <summary>
    /// Where lcores take turns on a CPU some loss is to be: the NIC's ring is full while its lcore waits. The emulated
    /// cable queues for a NIC that has no descriptor, and then drops (QEMU 10, net/queue.c): such a packet is in the
    /// sending NIC's count of frames sent and not in the receiving NIC's of frames seen. All others must have come.
    /// </summary>
    [Fact]
    public void Throughput_SenderAndReceiverTakeTurns_EveryLostPacketIsCounted()
    {
        (string first, string second) = Guest.Pair("igb");
        (AppResult result, JsonElement report) = AppProcess.RunWithReport("Throughput", Eal("igb", "0,1"), "--test",
            "max", "--frames", "64,512", "--trial", "3", "--settle", "10");
        output.WriteLine(result.All);
        long sent = 0, received = 0, lost = 0;
        foreach (JsonElement frame in report.GetProperty("frames").EnumerateArray())
            foreach (JsonElement trial in (JsonElement[])[.. frame.GetProperty("trials").EnumerateArray(),
                frame.GetProperty("warmUp")])
                (sent, received, lost) = (sent + trial.Long("sent"),
                    received + trial.Long("received") + trial.Long("foreign"), lost + trial.Long("lost"));
        JsonElement from = report.GetProperty("counters").GetProperty(first),
            to = report.GetProperty("counters").GetProperty(second);
        long onCable = from.Long("tx_mac_good_packets"), offCable = to.Long("rx_mac_good_packets");
        long missed = to.Long("rx_missed_errors") + to.Long("rx_errors") + to.Long("rx_mbuf_allocation_errors");
        output.WriteLine($"sent {sent}, left the sending NIC {onCable}, came to the receiving NIC {offCable}, "
            + $"missed {missed}, received {received}, lost {lost}");
        Assert.True(sent > 0 && received > 0, result.All);
        Assert.Equal(sent, from.Long("tx_good_packets"));
        Assert.Equal(sent, onCable);
        Assert.Equal(received, to.Long("rx_good_packets"));
        Assert.Equal(offCable, received + missed);
        Assert.Equal(0, report.Long("poolLeaks"));
    }

    private void AssertThroughput(string[] through)
    {
        string folder = Directory.CreateDirectory(Path.Combine(Guest.Out, $"throughput{through.Length}")).FullName;
        Host.Run("chmod", "777", folder);    // also for the ordinary user
        string svg = Path.Combine(folder, "chart.svg"), json = Path.Combine(folder, "report.json");
        // One lcore sends and receives: the CPUs of an emulated machine take turns of 100 ms, which two would measure.
        AppResult result = AppProcess.End(AppProcess.StartAs(through, "Throughput", [.. Eal("igb", "1"), "--",
            "--frames", "64,1518", "--trial", "1", "--settle", "10", "--json", json, "--svg", svg]));
        output.WriteLine(result.All);
        Assert.True(result.Exit == 0, result.All);
        JsonElement report = JsonDocument.Parse(File.ReadAllText(json)).RootElement;
        Assert.Equal(0, report.Long("poolLeaks"));
        foreach (JsonElement frame in report.GetProperty("frames").EnumerateArray())
        {
            JsonElement best = frame.GetProperty("best");
            Assert.InRange(best.Long("sent"), 1, long.MaxValue);
            Assert.Equal((best.Long("sent"), 0L), (best.Long("received"), best.Long("lost")));
        }
        Assert.Contains("<svg", File.ReadAllText(svg), StringComparison.Ordinal);
    }
}
