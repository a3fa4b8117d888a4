using System.Diagnostics;

namespace Dataplane.Tests;

/// <summary>What befalls Forward in mid-traffic ends with a word of what it was, and the next start works.</summary>
[Guest(Machines.Intel612 | Machines.Bare72)]
public sealed class ForwardFailureTests(ITestOutputHelper output)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);
    private const string Driver = "/sys/bus/pci/drivers/vfio-pci";

    [Theory]
    [InlineData("igb")]
    [InlineData("virtio-packed")]
    public void Forward_KilledInMidTraffic_TheNextStartForwards(string model)
    {
        using (var killed = new GuestForward(model))
            killed.WaitForTraffic().KillNine();
        AssertForwards(model);
    }

    [Theory]
    [InlineData("igb")]
    [InlineData("virtio")]
    public async Task Forward_NicUnboundUnderLoad_EndsInOrderAndTheNextStartForwards(string model)
    {
        string nic = Guest.Pair(model).First;
        using (var forward = new GuestForward(model))
        {
            forward.WaitForTraffic();
            // The kernel asks the process for the device and waits for it.
            Task unbind = Task.Run(() => File.WriteAllText($"{Driver}/unbind", nic));
            int exit = forward.End();
            await unbind.WaitAsync(TimeSpan.FromMinutes(2));
            Assert.Contains($"port {nic} is being taken away", forward.Said, StringComparison.Ordinal);
            Assert.True(exit == 0, forward.Said);
        }
        Assert.False(Path.Exists($"{Driver}/{nic}"));
        File.WriteAllText("/sys/bus/pci/drivers_probe", nic);
        Assert.True(Path.Exists($"{Driver}/{nic}"));
        AssertForwards(model);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Forward_NicPulledOutUnderLoad_EndsInOrderAndTheNextStartForwards(bool politely)
    {
        string nic = Guest.Pair("e1000e").Second, device = $"/sys/bus/pci/devices/{nic}";
        var slot = new GuestSlot(nic);
        try
        {
            using (var forward = new GuestForward("e1000e"))
            {
                forward.WaitForTraffic();
                if (politely)
                    slot.Unplug();
                else
                    slot.PullOut();
                int exit = forward.End();
                Assert.Contains($"port {nic} is being taken away", forward.Said, StringComparison.Ordinal);
                Assert.True(exit == 0, forward.Said);    // all mbufs are back, and the counts agree
                output.WriteLine(forward.Said[forward.Said.IndexOf("io, burst", StringComparison.Ordinal)..]);
            }
            Assert.True(SpinWait.SpinUntil(() => !Directory.Exists(device), s_patience), "still there");
            AssertForwards("igb");
        }
        finally
        {
            slot.PlugIn();
            Assert.True(SpinWait.SpinUntil(() => Directory.Exists(device + "/driver"), s_patience), "not back");
            File.WriteAllText(device + "/driver_override", "vfio-pci");
            File.WriteAllText(device + "/driver/unbind", nic);
            File.WriteAllText("/sys/bus/pci/drivers_probe", nic);
        }
        AssertForwards("e1000e");
    }

    [Fact]
    public async Task Throughput_NicUnboundUnderLoad_PrintsWhatItFoundAndFails()
    {
        (string first, string second) = Guest.Pair("igb");
        string[] bare = (Guest.Machine!.Id & Machines.Bare) != 0 ? ["--unsafe-noiommu"] : [];
        using (Process throughput = AppProcess.StartAs([], "Throughput", ["-l", "1", "-m", "64", "-a", first, "-a",
            second, .. bare, "--", "--test", "max", "--frames", "64,1518", "--trial", "5", "--settle", "5"]))
        {
            Task<string> table = throughput.StandardOutput.ReadToEndAsync();
            var said = new List<string>();
            Task? unbind = null;
            while (await throughput.StandardError.ReadLineAsync() is { } line)
            {
                said.Add(line);
                if (line.StartsWith("frame 1518", StringComparison.Ordinal))
                    unbind = Task.Run(() => File.WriteAllText($"{Driver}/unbind", first));
            }
            await throughput.WaitForExitAsync();
            string printed = await table, all = string.Join('\n', said) + "\n" + printed;
            output.WriteLine(all);
            Assert.True(unbind != null, all);
            await unbind.WaitAsync(s_patience);
            Assert.Contains($"port {first} is being taken away", all, StringComparison.Ordinal);
            Assert.Contains("what was measured until now follows", all, StringComparison.Ordinal);
            Assert.Contains(printed.Split('\n'), row => row.StartsWith("|    64 |", StringComparison.Ordinal));
            Assert.True(throughput.ExitCode == 2, $"exit code {throughput.ExitCode}\n{all}");
        }
        File.WriteAllText("/sys/bus/pci/drivers_probe", first);
        Assert.True(Path.Exists($"{Driver}/{first}"));
        AssertForwards("igb");
    }

    private static void AssertForwards(string model)
    {
        using var next = new GuestForward(model);
        next.WaitForTraffic().Stop();
    }
}

/// <summary>An ordinary user: what is missing is named, with the command, and after that command it works.</summary>
[Guest(Machines.Intel612)]
public sealed class ForwardRightsTests
{
    private static readonly string[] s_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

    [Fact]
    public void Forward_AsAUser_NeedsOneDpctlCommandAndTheLimit()
    {
        (string first, string second) = Guest.Pair("igb");
        AssertFails(s_nobody, "not let this user", "sudo dpctl bind", "--user nobody");

        AppResult bind = AppProcess.Run("Dpctl", "bind", first, second, "--user", "nobody");
        Assert.True(bind.Exit == 0, bind.All);
        try
        {
            AssertFails(["prlimit", "--memlock=1048576", .. s_nobody], "limit of locked memory", "1024 KB", "memlock");
            using var forward = new GuestForward("igb", ["prlimit", "--memlock=268435456", .. s_nobody]);
            forward.WaitForTraffic().Stop();
        }
        finally
        {
            // Bound again, and root's again: as the other tests expect them.
            AppProcess.Run("Dpctl", "unbind", first, second);
            Assert.Equal(0, AppProcess.Run("Dpctl", "bind", first, second).Exit);
        }
    }

    [Fact]
    public void Forward_DescriptorsHandedIn_NeedsNoRightToAnyNode()
    {
        const string Iommu = "/dev/iommu";
        (string first, string second) = Guest.Pair("igb");
        string mode = Host.Run("stat", "-c", "%a", Iommu).Trim();
        Host.Run("chmod", "600", Iommu);
        try
        {
            Assert.NotEqual(0, Host.TryRun(s_nobody[0], [.. s_nobody[1..], "test", "-r", Iommu]).Exit);
            // Opened by root, which then gives up its rights.
            string open = $"exec 10<>{Iommu} 11<>{Cdev(first)} 12<>{Cdev(second)}; exec prlimit --memlock=268435456 "
                + $"{string.Join(' ', s_nobody)} \"$@\"";
            using var forward = new GuestForward(($"{first},vfio-fd=11", $"{second},vfio-fd=12"),
                ["bash", "-c", open, "-"], "--iommu-fd", "10");
            forward.WaitForTraffic().Stop();
        }
        finally
        {
            Host.Run("chmod", mode, Iommu);
        }
    }

    private static string Cdev(string nic) =>
        DmaBackends.CdevNode(PciScan.One("/sys", PciAddress.Parse(nic))!);

    private static void AssertFails(string[] through, params string[] words)
    {
        using var forward = new GuestForward("igb", through);
        Assert.True(forward.End() == 1, forward.Said);
        foreach (string word in words)
            Assert.True(forward.Said.Contains(word, StringComparison.Ordinal), $"'{word}' is not in: {forward.Said}");
        Assert.DoesNotContain("   at ", forward.Said, StringComparison.Ordinal);
    }
}
