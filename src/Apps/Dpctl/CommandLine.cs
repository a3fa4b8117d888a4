using System.CommandLine;
using Dataplane.Apps;
using Dataplane.Pmd;
using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary>The verbs and their options.</summary>
internal static class CommandLine
{
    /// <summary>Exit codes, the same for every verb; only <c>doctor</c> ends with warnings.</summary>
    internal const int Ok = 0, Warnings = 1, Failed = 2;

    /// <summary>Runs one verb. Errors are told on <paramref name="error"/> without a stack trace.</summary>
    /// <returns><see cref="Ok"/>, <see cref="Warnings"/> or <see cref="Failed"/>.</returns>
    internal static int Run(string[] args, Host host, IAnsiConsole console, TextWriter output, TextWriter error)
    {
        // Commands to paste must not be broken into lines, by a narrow pipe least of all.
        console.Profile.Width = Math.Max(console.Profile.Width, 250);
        string[]? eal = TakeEalOptions(ref args);
        ParseResult result = Build(host, console, output, error, eal).Parse(args);
        try
        {
            if (Usage.Refuses(result, "dpctl", error))
                return Failed;
            var configuration = new InvocationConfiguration
            {
                Output = output,
                Error = error,
                EnableDefaultExceptionHandler = false,
            };
            return result.Invoke(configuration);
        }
        catch (DataplaneException e)
        {
            error.WriteLine("dpctl: " + e.Message);
            return Failed;
        }
    }

    // What applications have: the environment's options, then "--", then the verb's own.
    private static string[]? TakeEalOptions(ref string[] args)
    {
        int end = args.Length > 0 && args[0] == ReplayVerb.Name ? Array.IndexOf(args, "--") : -1;
        if (end < 0)
            return null;
        string[] eal = args[1..end];
        args = [args[0], .. args[(end + 1)..]];
        return eal;
    }

    private static RootCommand Build(Host host, IAnsiConsole console, TextWriter output, TextWriter error,
        string[]? eal) => new(
        "Looks at this machine as Dataplane will find it, and sets it up. Exit code: 0 all is well, 1 doctor warns, 2 "
        + "failed.")
    {
        Doctor(host, console, output), Hugepages(host, console, output), Ports(host, console, output),
        Status(host, console, output), Bind(host, console), Unbind(host, console),
        XdpVerbs.Build(host, console), ReplayVerb.Build(eal, output, error),
        TopCommand.Build(console, output), TraceCommand.Build(output, error), CaptureVerb.Build(error),
    };

    private static Command Doctor(Host host, IAnsiConsole console, TextWriter output)
    {
        Option<bool> json = Json();
        var command = new Command("doctor", "Say what this machine lacks for packets at full speed, and the command "
            + "that fixes each point. A warning costs speed or one kind of device; a failure means hugepages, pinning "
            + "or a steady poll loop cannot be had. Virtual devices on ordinary pages work all the same. Nothing is "
            + "changed.") { json };
        command.SetAction(result => DoctorCommand.Run(host, console, result.GetValue(json) ? output : null));
        return command;
    }

    private static Command Hugepages(Host host, IAnsiConsole console, TextWriter output)
    {
        Option<bool> json = Json();
        var size = new Option<string?>("--size") { Description = "Page size, e.g. 2M or 1G (set: 2M; else: all).",
            HelpName = "SIZE" };
        var node = new Option<int?>("--node") { Description = "NUMA node (set: spread by the kernel; else: all).",
            HelpName = "N" };
        var count = new Argument<int>("count") { Description = "Pages wanted, 0 or more." };
        var show = new Command("show", "List the hugepages of each NUMA node and size.") { json };
        show.SetAction(result => HugepagesCommand.Show(host, console, result.GetValue(json) ? output : null));
        var set = new Command("set", "Reserve that many pages, and check that they are there.") { count, size, node };
        set.SetAction(result => HugepagesCommand.Set(host, console, result.GetValue(count),
            PageSize.Parse(result.GetValue(size) ?? "2M"), result.GetValue(node)));
        var clear = new Command("clear", "Give hugepages back to the kernel.") { size, node };
        clear.SetAction(result => HugepagesCommand.Clear(host, console,
            result.GetValue(size) is { } text ? PageSize.Parse(text) : null, result.GetValue(node)));
        return new Command("hugepages", "Show, reserve or release hugepages.") { show, set, clear };
    }

    private static Command Ports(Host host, IAnsiConsole console, TextWriter output)
    {
        Option<bool> json = Json();
        var command = new Command("ports", "List what can be a port: kernel interfaces, network devices without one, "
            + "and virtual devices.") { json };
        command.SetAction(result => PortsCommand.Run(host, Drivers.All, console, result.GetValue(json) ? output
            : null));
        return command;
    }

    private static Command Status(Host host, IAnsiConsole console, TextWriter output)
    {
        Option<bool> json = Json(), all = Flag("--all", "Every PCI function, not only network devices.");
        var command = new Command("status", "List PCI network functions: driver, interface, IOMMU group, and which "
            + "driver of ours can use them.") { json, all };
        command.SetAction(result => StatusCommand.Run(host, Drivers.All, console, result.GetValue(json) ? output : null,
            result.GetValue(all)));
        return command;
    }

    private static Command Bind(Host host, IAnsiConsole console)
    {
        Argument<string[]> devices = Devices();
        Option<int[]> groups = Groups();
        Option<bool> force = Flag("--force", "Take it although the kernel uses it (address, route, master)."),
            cut = Flag("--cut-default-route", "With --force: although the default route or an SSH session needs it."),
            noIommu = Flag("--noiommu", "Where there is no IOMMU: bind all the same. The device can then write to any "
                + "memory."), persist = Flag("--persist", "Keep it over a restart."), dryRun = DryRun();
        var user = new Option<string?>("--user") { Description = "Let this user open it without privileges.",
            HelpName = "NAME" };
        var vfs = new Option<int?>("--vfs") { Description = "Leave the device to the kernel; make N virtual functions "
            + "of it and bind those. 0 removes them.", HelpName = "N" };
        vfs.Validators.Add(result =>
        {
            if (int.TryParse(result.Tokens.SingleOrDefault()?.Value, out int count) && count < 0)
                result.AddError("--vfs wants 0 or more");
        });
        var command = new Command("bind", "Take PCI functions from the kernel and give them to vfio-pci, so that an "
            + "application can drive them. Refuses what the kernel is using. 'unbind' undoes it.")
        { devices, groups, user, vfs, persist, noIommu, force, cut, dryRun };
        command.SetAction(result => BindCommand.Run(host, console, new BindRequest
        {
            Devices = result.GetValue(devices) ?? [],
            Groups = result.GetValue(groups) ?? [],
            User = result.GetValue(user),
            VirtualFunctions = result.GetValue(vfs),
            Force = result.GetValue(force),
            CutDefaultRoute = result.GetValue(cut),
            NoIommu = result.GetValue(noIommu),
            Persist = result.GetValue(persist),
            DryRun = result.GetValue(dryRun),
        }));
        return command;
    }

    private static Command Unbind(Host host, IAnsiConsole console)
    {
        Argument<string[]> devices = Devices();
        Option<int[]> groups = Groups();
        Option<bool> force = Flag("--force", "Although a process has it open: asks it to let go, and waits."),
            dryRun = DryRun();
        var command = new Command("unbind", "Give PCI functions back to the kernel's own drivers, now and for the next "
            + "start.") { devices, groups, force, dryRun };
        command.SetAction(result => UnbindCommand.Run(host, console, result.GetValue(devices) ?? [],
            result.GetValue(groups) ?? [], result.GetValue(force), result.GetValue(dryRun)));
        return command;
    }

    private static Argument<string[]> Devices() => new("device")
    {
        Description = "PCI addresses (0000:3b:00.0) or interfaces (eth1).",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private static Option<int[]> Groups() => new("--group") { Description = "All members of an IOMMU group; may be "
        + "repeated.", HelpName = "N" };

    private static Option<bool> DryRun() => Flag("--dry-run", "Print every change, make none.");

    private static Option<bool> Flag(string name, string help) => new(name) { Description = help };

    private static Option<bool> Json() => new("--json") { Description = "Print JSON instead of text." };
}
