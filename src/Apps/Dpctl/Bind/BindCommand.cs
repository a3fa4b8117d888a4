using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary>What the command line of <c>dpctl bind</c> says.</summary>
internal sealed record BindRequest
{
    internal string[] Devices { get; init; } = [];
    internal int[] Groups { get; init; } = [];
    internal string? User { get; init; }
    internal int? VirtualFunctions { get; init; }
    internal bool Force { get; init; }
    internal bool CutDefaultRoute { get; init; }
    internal bool NoIommu { get; init; }
    internal bool Persist { get; init; }
    internal bool DryRun { get; init; }
}

/// <summary><c>dpctl bind</c>: checks everything, then changes, then looks whether it came true.</summary>
internal sealed class BindCommand
{
    private readonly Host _host;
    private readonly IAnsiConsole _console;
    private readonly BindRequest _request;
    private readonly Changes _changes;
    private readonly Binder _binder;
    private readonly Rights _rights;
    private readonly Persistence _persistence;

    private BindCommand(Host host, IAnsiConsole console, BindRequest request)
    {
        _host = host;
        _console = console;
        _request = request;
        _changes = new Changes(host, console, request.DryRun);
        _binder = new Binder(host, _changes);
        _rights = new Rights(host, _changes);
        _persistence = new Persistence(host, _changes);
    }

    internal static int Run(Host host, IAnsiConsole console, BindRequest request) =>
        new BindCommand(host, console, request).Run();

    private int Run()
    {
        IReadOnlyList<PciDevice> all = _host.ScanPci();
        IReadOnlyList<PciDevice> targets = Targets.Find(all, _request.Devices, _request.Groups);
        uint? uid = _request.User == null ? null : _rights.FindUser(_request.User);
        if (uid is > 0 && _request.NoIommu)
            throw new ConfigException("--user and --noiommu do not go together",
                "only root may drive a device that no IOMMU holds in check", "leave one of them out");
        if (_request.VirtualFunctions is { } count)
            return RunVirtualFunctions(targets, count, uid);
        CheckGroups(all, targets);
        CheckUse(targets);
        _binder.LoadDriver();
        if (_request.NoIommu)
            _binder.SetNoIommu(true);
        Bind(targets, uid);
        return CommandLine.Ok;
    }

    private int RunVirtualFunctions(IReadOnlyList<PciDevice> targets, int count, uint? uid)
    {
        if (targets.Count != 1)
            throw new ConfigException("--vfs is for one device at a time", $"{targets.Count} are named");
        PciDevice parent = targets[0];
        var virtuals = new VirtualFunctions(_host, _changes, _binder);
        if (count == 0)
        {
            IReadOnlyList<PciDevice> old = virtuals.Read(parent);
            CheckUse(old);
            UnbindCommand.CheckHolders(_host, old, _request.Force);
            virtuals.Remove(parent);
            foreach (PciDevice device in old.Append(parent))
                _persistence.Forget(device.Address);
            _console.WriteLine($"{parent}: {old.Count} virtual functions removed");
            return CommandLine.Ok;
        }
        _binder.LoadDriver();
        IReadOnlyList<PciDevice> made = virtuals.Make(parent, count);
        if (_request.Persist)
            _persistence.KeepVirtualFunctions(parent, count);
        if (_request.DryRun)
        {
            _console.WriteLine($"would bind each of the {count} new functions to {Binder.Driver}");
            return CommandLine.Ok;
        }
        CheckGroups(_host.ScanPci(), made);
        Bind(made, uid);
        return CommandLine.Ok;
    }

    private void Bind(IReadOnlyList<PciDevice> targets, uint? uid)
    {
        var bound = new List<PciDevice>();
        var taken = new List<PciDevice>();   // those that were not bound before
        try
        {
            foreach (PciDevice device in targets)
            {
                bound.Add(_binder.Bind(device));
                if (!device.IsBoundToVfio)
                    taken.Add(bound[^1]);
            }
        }
        catch (DataplaneException)
        {
            foreach (PciDevice device in taken)
                _binder.Unbind(device);
            throw;
        }
        string? note = _request.User == null ? null : _rights.Give(bound, _request.User);
        foreach (PciDevice device in bound)
        {
            if (_request.Persist)
                _persistence.Keep(device, uid);
            if (!_request.DryRun)
                _console.WriteLine($"{device}: {Binder.Driver}, {string.Join(", ", Rights.NodesOf(device))}");
        }
        if (note != null)
            _console.WriteLine("note: " + note);
        if (bound.Any(device => device.IsNoIommu))
            _console.WriteLine("warning: no IOMMU holds these devices in check: a wrong address in an application "
                + "overwrites any memory of this machine");
    }

    // A group is given away whole or not at all, and without one there must be the word of the user.
    private void CheckGroups(IReadOnlyList<PciDevice> all, IReadOnlyList<PciDevice> targets)
    {
        foreach (PciDevice device in targets)
        {
            if (Targets.IsBridge(device))
                throw new DataplaneException($"cannot bind {device}", $"it is a bridge (class {device.Class:x6})");
            if (device.IommuGroup == null && !_request.NoIommu)
                throw new DataplaneException($"cannot bind {device}", "it is behind no IOMMU, so nothing would keep it "
                    + "from writing to any memory of this machine", "switch the IOMMU on (dpctl doctor says how); or, "
                    + "where there is none and you know what you do: --noiommu", "docs/setup/binding.md");
            if (device.IommuGroup != null && !device.IsNoIommu && _request.NoIommu)
                throw new ConfigException($"--noiommu is not for {device}",
                    $"it is behind an IOMMU, in group {device.IommuGroup}", "leave --noiommu out");
            PciDevice? other = all.FirstOrDefault(member => member.IommuGroup == device.IommuGroup
                && device.IommuGroup != null && !Targets.LetsGroupGo(member)
                && targets.All(target => target.Address != member.Address));
            if (other != null)
                throw new DataplaneException($"cannot bind {device}: IOMMU group {device.IommuGroup} has other members",
                    $"{other} is in it and bound to {other.KernelDriver}; a group is given away whole or not at all",
                    $"bind the whole group: sudo dpctl bind --group {device.IommuGroup}; or put the card into "
                    + "another slot", "docs/setup/binding.md");
        }
    }

    private void CheckUse(IReadOnlyList<PciDevice> targets)
    {
        KernelUse[] uses = [.. targets.Where(device => !device.IsBoundToVfio)
            .SelectMany(device => KernelUse.Of(_host, device))];
        KernelUse[] ways = [.. uses.Where(use => use.IsWayIn)];
        string Join(IEnumerable<KernelUse> some) => string.Join("; ", some.Select(use => use.Text));
        if (ways.Length > 0 && !(_request.Force && _request.CutDefaultRoute))
            throw new DataplaneException("this may cut the way into this machine", Join(uses),
                "use another NIC; or, on a console that does not need it: --force --cut-default-route",
                "docs/setup/binding.md", Errno.EBUSY);
        if (uses.Length > 0 && !_request.Force)
            throw new DataplaneException("the kernel is using it", Join(uses),
                "take the address, route or master off first (ip address flush dev NAME; ip link set NAME "
                + "nomaster); or, if it does not matter: --force", "docs/setup/binding.md", Errno.EBUSY);
        foreach (KernelUse use in uses)
            _console.WriteLine($"{(use.IsWayIn ? "WARNING" : "warning")}: {use.Text}; forced");
    }
}
