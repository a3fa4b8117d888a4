using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl unbind</c>: undoes what bind did.</summary>
internal static class UnbindCommand
{
    internal static int Run(Host host, IAnsiConsole console, string[] devices, int[] groups, bool force, bool dryRun)
    {
        var changes = new Changes(host, console, dryRun);
        var binder = new Binder(host, changes);
        var persistence = new Persistence(host, changes);
        IReadOnlyList<PciDevice> targets = Targets.Find(host.ScanPci(), devices, groups);
        CheckHolders(host, targets, force);
        foreach (PciDevice device in targets)
        {
            persistence.Forget(device.Address);
            bool isOurs = device.IsBoundToVfio
                || host.Read($"{Binder.Directory(device)}/driver_override") == Binder.Driver;
            PciDevice after = isOurs ? binder.Unbind(device) : device;
            if (!dryRun)
                console.WriteLine($"{device}: {after.KernelDriver ?? "no driver of the kernel took it"}"
                    + string.Concat(after.Interfaces.Select(name => $", interface {name}")));
        }
        IReadOnlyList<PciDevice> left = [.. host.ScanPci().Where(device => device.IsBoundToVfio
            && !(dryRun && targets.Any(target => target.Address == device.Address)))];
        if (left.Count == 0)
            new Rights(host, changes).TakeBack();
        if (targets.Any(device => device.IsNoIommu) && !left.Any(device => device.IsNoIommu))
            binder.SetNoIommu(false);
        return CommandLine.Ok;
    }

    /// <summary>The kernel would wait for a process that has a function open, and this program with it.</summary>
    /// <exception cref="DataplaneException">There is one, and nothing is forced.</exception>
    internal static void CheckHolders(Host host, IReadOnlyList<PciDevice> targets, bool force)
    {
        string[] nodes = [.. targets.Where(device => device.IsBoundToVfio).SelectMany(Rights.NodesOf)];
        if (force || nodes.Length == 0 || host.HoldersOf(nodes) is not { Count: > 0 } holders)
            return;
        throw new DataplaneException("a process has it open", string.Join(", ", holders),
            "end that first; or --force: the process is asked to let go, and this waits until it does",
            errno: Errno.EBUSY);
    }
}
