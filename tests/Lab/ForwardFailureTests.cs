namespace Dataplane.Tests;

/// <summary>What befalls Forward in mid-traffic ends with a word of what it was, and the next start works.</summary>
[Guest(Machines.Intel612 | Machines.Bare72)]
public sealed class ForwardFailureTests
{
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

    private static void AssertFails(string[] through, params string[] words)
    {
        using var forward = new GuestForward("igb", through);
        Assert.True(forward.End() == 1, forward.Said);
        foreach (string word in words)
            Assert.True(forward.Said.Contains(word, StringComparison.Ordinal), $"'{word}' is not in: {forward.Said}");
        Assert.DoesNotContain("   at ", forward.Said, StringComparison.Ordinal);
    }
}
