using System.CommandLine;

namespace Dataplane.Dpctl;

/// <summary>What <c>dpctl replay</c> was asked for.</summary>
internal sealed record ReplayOptions
{
    public required string File { get; init; }

    /// <summary>A port's name, number or device arguments; null: the only one there is.</summary>
    public string? Port { get; init; }
    public ReplayRate Rate { get; init; } = new(ReplayTiming.Original);

    /// <summary>Passes through the file, 0 for ever.</summary>
    public int Loop { get; init; } = 1;
    public double DurationSeconds { get; init; }
    public int Mtu { get; init; }
    public int Burst { get; init; } = 32;
    public double StatsPeriodSeconds { get; init; } = 1;
    public bool CheckOnly { get; init; }
}

/// <summary>The verb <c>replay</c>.</summary>
internal static class ReplayVerb
{
    internal const string Name = "replay";

    /// <param name="eal">The environment's options: what stood before <c>--</c>; null without one.</param>
    /// <param name="output">Where figures go.</param>
    /// <param name="error">Where warnings go.</param>
    internal static Command Build(string[]? eal, TextWriter output, TextWriter error)
    {
        var file = new Argument<string>("file") { Description = "A pcap or pcapng file." };
        Option<string?> port = new("--port") { Description = "Where to: a port of the EAL options by name or number, "
            + "or a device to use, e.g. net_af_packet0,iface=eth1 or a PCI address.", HelpName = "PORT" },
            rate = new("--rate") { Description = "As many packets or bits a second: 2Mpps, 1.5Gbit/s.",
                HelpName = "RATE" };
        Option<bool> original = Flag("--original-timing", "As the stamps say; what happens when nothing else is said."),
            top = Flag("--top-speed", "As fast as the port takes them."),
            check = Flag("--check", "Only read the file, and say what would be sent.");
        Option<double> speed = NumberOption.Number("--speed", "Times the original speed.", 1, 1e-9, 1e9),
            duration = NumberOption.Number("--duration", "Seconds at most; 0: until all is sent.", 0, 0, 1e9),
            period = NumberOption.Number("--stats-period", "Seconds between lines; 0: none.", 1, 0, 1e6);
        Option<int> loop = NumberOption.Whole("--loop", "Passes through the file; 0: for ever.", 1, 0, int.MaxValue),
            mtu = NumberOption.Whole("--mtu", "MTU to give the port, bytes; 0: as it is.", 0, 0, 65535),
            burst = NumberOption.Whole("--burst", "Packets per call.", 32, 1, 512);
        var command = new Command(Name, "Send a capture file by any port: dpctl replay [EAL options --] FILE --port "
            + "PORT. Every packet is counted, and how late it went. Exit code 2: not every packet was sent, also "
            + "because it was interrupted; --duration may end it early, and an interrupt what goes on for ever.")
        { file, port, rate, original, speed, top, loop, duration, mtu, burst, period, check };
        command.Validators.Add(result =>
        {
            int timings = (result.GetValue(original) ? 1 : 0) + (result.GetValue(top) ? 1 : 0)
                + (result.GetResult(rate) != null ? 1 : 0);
            if (timings > 1)
                result.AddError("give one of --rate, --original-timing and --top-speed");
            if (result.GetResult(speed) is { Implicit: false } && (result.GetValue(top)
                || result.GetResult(rate) != null))
                result.AddError("--speed goes with the original timing only");
        });
        command.SetAction(result => ReplayCommand.Run(new ReplayOptions
        {
            File = result.GetValue(file)!,
            Port = result.GetValue(port),
            Rate = result.GetValue(rate) is { } text ? ReplayRate.Parse(text)
                : result.GetValue(top) ? new(ReplayTiming.Top) : new(ReplayTiming.Original, result.GetValue(speed)),
            Loop = result.GetValue(loop),
            DurationSeconds = result.GetValue(duration),
            Mtu = result.GetValue(mtu),
            Burst = result.GetValue(burst),
            StatsPeriodSeconds = result.GetValue(period),
            CheckOnly = result.GetValue(check),
        }, eal, output, error));
        return command;
    }

    private static Option<bool> Flag(string name, string help) => new(name) { Description = help };
}
