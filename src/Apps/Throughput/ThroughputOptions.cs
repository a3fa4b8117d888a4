using System.CommandLine;
using System.Globalization;
using Dataplane.Apps.Watch;

namespace Dataplane.Apps.Throughput;

/// <summary>Which way the test packets go.</summary>
internal enum TestPath
{
    /// <summary>Sent on port 0, received on port 1 (and 2 to 3, ...), and back with --bidirectional.</summary>
    Pair,
    /// <summary>Sent and received on the same port.</summary>
    Loop,
    /// <summary>Sent on port 0; this program sends back what comes in on port 1; received on port 0 again.</summary>
    Reflect,
    /// <summary>Sent and not received: how fast a port takes packets.</summary>
    Sink,
}

/// <summary>What is looked for.</summary>
internal enum TestKind
{
    /// <summary>The highest rate without loss, by binary search.</summary>
    ZeroLoss,
    /// <summary>As fast as it goes, and what is lost then.</summary>
    Max,
    /// <summary>Latency and loss at one rate, --rate.</summary>
    Rate,
}

/// <summary>The command line after <c>--</c>.</summary>
internal sealed record ThroughputOptions(TestKind Test, TestPath Path, IReadOnlyList<string> Frames,
    double TrialSeconds, double SettleSeconds, double LossPercent, double ResolutionPercent, double Rate,
    double LinkGbps, bool Bidirectional, int Burst, int Descriptors, string? JsonPath, string? SvgPath)
{
    /// <summary>What to show while it runs.</summary>
    public WatchOptions Watch { get; init; } = new();

    /// <summary>The standard sizes of RFC 2544 §9.1, with check sequence, and a mix.</summary>
    private const string AllFrames = "64,128,256,512,1024,1280,1518,imix";

    private static readonly Option<TestKind> s_test = new("--test")
    { Description = "zeroloss: highest rate without loss; max: as fast as it goes; rate: at --rate." };
    private static readonly Option<TestPath> s_path = new("--path")
    { Description = "pair: 0 to 1, 2 to 3; loop: back on the same port; reflect: 0 to 1, sent back there, to 0; sink: "
    + "not received." };
    private static readonly Option<string> s_frames = new("--frames")
    { Description = "Frame sizes with check sequence, 64 to 1518, and imix (7x64 4x594 1x1518).",
    DefaultValueFactory = _ => AllFrames };
    private static readonly Option<double> s_trial =
        Positive("--trial", "Seconds of one trial (RFC 2544 asks 60 for publication).", 1);
    private static readonly Option<double> s_settle =
        Positive("--settle", "Seconds to wait for stragglers after a trial, at most.", 0.2);
    private static readonly Option<double> s_loss =
        NotNegative("--loss", "Loss allowed, percent.");
    private static readonly Option<double> s_resolution =
        Positive("--resolution", "Search ends at this percentage of the highest rate.", 1);
    private static readonly Option<double> s_rate = NotNegative("--rate", "Packets per second and direction "
        + "for --test rate, and where a search starts; 0: as fast as it goes.");
    private static readonly Option<double> s_link = NotNegative("--link",
        "Link speed in Gbit/s: never offer more than it carries; 0: no limit.");
    private static readonly Option<bool> s_both = new("--bidirectional") { Description = "pair: both ways at once." };
    private static readonly Option<int> s_burst =
        new("--burst") { Description = "Packets per burst, 1 to 512.", DefaultValueFactory = _ => 32 };
    private static readonly Option<int> s_descriptors =
        new("--descriptors") { Description = "Per queue; 0: the driver's.", DefaultValueFactory = _ => 0 };
    private static readonly Option<FileInfo?> s_json =
        new("--json") { Description = "Write every trial to this file." };
    private static readonly Option<FileInfo?> s_svg =
        new("--svg") { Description = "Draw rate and latency over frame size into this file." };

    /// <summary>Parses; prints help or errors itself and then returns null with an exit code.</summary>
    public static ThroughputOptions? Parse(string[] args, out int exitCode)
    {
        ThroughputOptions? options = null;
        var root = new RootCommand("Measures throughput and latency between ports (RFC 2544).\n\n"
            + "  Throughput [EAL options] -- [options below]\n"
            + "  Throughput [-- options]                        on a cable in the process, to see what it looks like");
        foreach (Option option in (Option[])[s_test, s_path, s_frames, s_trial, s_settle, s_loss, s_resolution, s_rate,
            s_link, s_both, s_burst, s_descriptors, s_json, s_svg, .. WatchCommandLine.Options])
            root.Options.Add(option);
        root.SetAction(r => options = new ThroughputOptions(r.GetValue(s_test), r.GetValue(s_path),
            Sizes(r.GetValue(s_frames)!), r.GetValue(s_trial), r.GetValue(s_settle), r.GetValue(s_loss),
            r.GetValue(s_resolution), r.GetValue(s_rate), r.GetValue(s_link), r.GetValue(s_both),
            Math.Clamp(r.GetValue(s_burst), 1, 512), r.GetValue(s_descriptors), r.GetValue(s_json)?.FullName,
            r.GetValue(s_svg)?.FullName) { Watch = WatchCommandLine.Bind(r) });
        ParseResult parsed = root.Parse(args);
        exitCode = 1;
        if (Usage.Refuses(parsed, "Throughput --", Console.Error))
            return null;
        exitCode = parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        return options;
    }

    /// <summary>Frames of a size name, check sequence counted: one size, or the mix in an order that spreads
    /// it.</summary>
    public static int[] FrameBytes(string frame) =>
        frame == "imix" ? [64, 594, 64, 594, 64, 1518, 64, 594, 64, 594, 64, 64]
        : [int.Parse(frame, CultureInfo.InvariantCulture)];

    private static IReadOnlyList<string> Sizes(string list)
    {
        string[] sizes = list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        foreach (string size in sizes)
            if (size != "imix" && (!int.TryParse(size, CultureInfo.InvariantCulture, out int bytes)
                || bytes is < 64 or > 1518))
                throw new ConfigException($"--frames: '{size}' is no frame size", why: "sizes are 64 to 1518, or imix",
                    fix: "--frames " + AllFrames);
        return sizes.Length > 0 ? sizes : throw new ConfigException("--frames is empty", fix: "--frames " + AllFrames);
    }

    private static Option<double> Positive(string name, string help, double fallback) =>
        Number(name, help, fallback, value => value > 0, "a number above 0");

    private static Option<double> NotNegative(string name, string help) =>
        Number(name, help, 0, value => value >= 0, "0 or a number above it");

    private static Option<double> Number(string name, string help, double fallback, Func<double, bool> isRight,
        string wanted)
    {
        var option = new Option<double>(name) { Description = help, DefaultValueFactory = _ => fallback };
        option.Validators.Add(result =>
        {
            // Without thousands separators: 0,5 would be read as 5.
            string? text = result.Tokens.SingleOrDefault()?.Value;
            if (text != null && !(double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture,
                out double value) && isRight(value)))
                result.AddError($"{name} wants {wanted}, such as 0.5, not {text}");
        });
        return option;
    }
}
