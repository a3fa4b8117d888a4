using System.CommandLine;
using Dataplane.Pmd;
using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary>The verbs below <c>dpctl xdp</c>.</summary>
internal static class XdpVerbs
{
    internal static Command Build(Host host, IAnsiConsole console) => new("xdp", "Do what af_xdp ports need privileges "
        + "for, so that an application runs without.")
    {
        Serve(host, console), Load(host, console), Unload(host, console),
    };

    private static Command Serve(Host host, IAnsiConsole console)
    {
        Argument<string> name = Interface();
        Option<string?> user = User(), path = new("--socket") { Description = "Where to serve.", HelpName = "PATH" };
        Option<string> mode = Mode();
        var budget = new Option<int>("--busy-budget") { Description = "Packets of one busy poll, 0 for none.",
            HelpName = "N", DefaultValueFactory = _ => 64 };
        var command = new Command("serve", "Put the program on an interface and hand its map, and sockets, to a user's "
            + "applications by a Unix socket. Ends, and takes the program off, when interrupted.")
        { name, path, user, mode, budget };
        command.SetAction(result => XdpCommand.Serve(host, console, result.GetValue(name)!, result.GetValue(path),
            result.GetValue(user), Parse(result.GetValue(mode)!), result.GetValue(budget)));
        return command;
    }

    private static Command Load(Host host, IAnsiConsole console)
    {
        Argument<string> name = Interface();
        Option<string?> user = User(), folder = Pin();
        Option<string> mode = Mode();
        var command = new Command("load", "Put the program on an interface and pin its map in a bpf file system. The "
            + "application then needs CAP_NET_RAW only. 'unload' undoes it.") { name, folder, user, mode };
        command.SetAction(result => XdpCommand.Load(host, console, result.GetValue(name)!, result.GetValue(folder),
            result.GetValue(user), Parse(result.GetValue(mode)!)));
        return command;
    }

    private static Command Unload(Host host, IAnsiConsole console)
    {
        Argument<string> name = Interface();
        Option<string?> folder = Pin();
        var command = new Command("unload", "Take the program of 'load' off an interface.") { name, folder };
        command.SetAction(result => XdpCommand.Unload(host, console, result.GetValue(name)!, result.GetValue(folder)));
        return command;
    }

    private static Argument<string> Interface() => new("interface") { Description = "The interface, e.g. eth1." };

    private static Option<string?> User() => new("--user") { Description = "Whose applications may use it (root's).",
        HelpName = "NAME" };

    private static Option<string?> Pin() => new("--pin") { Description = "Folder of a bpf file system "
        + "(/sys/fs/bpf/dataplane-INTERFACE).", HelpName = "FOLDER" };

    private static Option<string> Mode()
    {
        var mode = new Option<string>("--mode") { Description = "Where it runs: drv in the driver, skb in the general "
            + "path, auto the first that works.", HelpName = "MODE", DefaultValueFactory = _ => "auto" };
        mode.AcceptOnlyFromAmong("auto", "drv", "skb");
        return mode;
    }

    private static XdpMode Parse(string mode) => mode switch
    {
        "drv" => XdpMode.Driver,
        "skb" => XdpMode.Generic,
        _ => XdpMode.Auto,
    };
}
