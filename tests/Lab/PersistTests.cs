namespace Dataplane.Tests;

/// <summary><c>dpctl bind --persist</c> over a restart: two machines one after the other, with the same rules of
/// udev.</summary>
public sealed class PersistTests(ITestOutputHelper output)
{
    private const string Udev = "/lib/systemd/systemd-udevd";

    // The file system is this machine's, read-only: the rules are kept in the run's directory, put in their place.
    private const string Bind = """
        mount --bind "$LAB_OUT/rules" /etc/udev/rules.d
        set -- $LAB_NICS
        dotnet DPCTL bind "$@" --user nobody --persist
        """;

    // What a start of Debian does with devices that were there before udev.
    private const string Restart = """
        mount --bind "$LAB_OUT/rules" /etc/udev/rules.d
        for nic in $LAB_NICS; do echo before: $(basename $(readlink /sys/bus/pci/devices/$nic/driver)); done
        UDEV --daemon
        udevadm trigger --type=subsystems --action=add
        udevadm trigger --type=devices --action=add
        udevadm settle --timeout=60
        for nic in $LAB_NICS; do
          echo after: $(basename $(readlink /sys/bus/pci/devices/$nic/driver))
          echo owner: $(stat -c '%U %a' /dev/vfio/devices/$(ls /sys/bus/pci/devices/$nic/vfio-dev))
          echo owner: $(stat -c '%U %a' /dev/vfio/$(basename $(readlink /sys/bus/pci/devices/$nic/iommu_group)))
        done
        echo iommu: $(stat -c '%a' /dev/iommu)
        """;

    [Fact]
    public async Task Bind_Persist_HoldsOverARestart()
    {
        LabRun.Require("6.12");
        Assert.SkipUnless(File.Exists(Udev), "needs udev: sudo apt install udev");
        string rules = Path.Combine(LabRun.Tree, "artifacts", "lab", "persist", "rules");
        if (Directory.Exists(rules))
            Directory.Delete(rules, recursive: true);
        Directory.CreateDirectory(rules);
        string dpctl = Path.Combine(AppContext.BaseDirectory, "Dpctl.dll");

        string bound = await RunAsync(Bind.Replace("DPCTL", dpctl, StringComparison.Ordinal));
        Assert.Equal(2, Directory.GetFiles(rules).Length);
        Assert.Contains("vfio-pci", bound, StringComparison.Ordinal);

        string after = await RunAsync(Restart.Replace("UDEV", Udev, StringComparison.Ordinal));
        string[] lines = after.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["before: igb", "before: igb"], lines[..2]);
        string[] each = ["after: vfio-pci", "owner: nobody 600", "owner: nobody 600"];
        Assert.Equal([.. each, .. each, "iommu: 666"], lines[2..]);
    }

    private async Task<string> RunAsync(string script)
    {
        using LabRun run = await LabRun.StartAsync("persist", "run", ["--one-thread", "--kernel", "6.12", "--no-bind",
            "--nic", "igb", "--nic", "igb", "--env", "DOTNET_TieredCompilation=1"], ["bash", "-ec", script]);
        int exit = await run.EndAsync();
        output.WriteLine(run.Output + run.Errors);
        Assert.True(exit == 0, $"exit {exit}\n{run.Output}{run.Errors}");
        return run.Output;
    }
}
