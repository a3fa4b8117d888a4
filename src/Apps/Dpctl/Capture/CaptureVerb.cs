using System.CommandLine;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl capture</c>.</summary>
internal static class CaptureVerb
{
    /// <summary>Makes the verb. What it tells goes to <paramref name="error"/>: packets may go to standard
    /// output.</summary>
    internal static Command Build(TextWriter error)
    {
        Option<string> prefix = Text("--file-prefix", "PREFIX", "The application's own --file-prefix.",
            new EalOptions().FilePrefix);
        Option<string> port = Text("--interface", "PORT", "Number or name of a port, or all.", "all");
        port.Aliases.Add("-i");
        Option<string> direction = Text("--direction", "WAY", "rx, tx or both.", "both");
        direction.AcceptOnlyFromAmong("rx", "tx", "both");
        var queue = new Option<int?>("--queue") { Description = "One queue of each (all).", HelpName = "N" };
        var pid = new Option<int?>("--pid") { Description = "Which process, where several have the prefix.",
            HelpName = "PID" };
        Option<int> snapLength = Number("--snaplen", "-s", "BYTES", "Keep at most so much of a packet.",
            (int)CaptureRequest.MostSnapLength, (int)CaptureRequest.LeastSnapLength);
        Option<int> buffer = Number("--buffer-size", "-B", "MB", "Memory for each queue, a power of two.", 8, 1);
        buffer.Validators.Add(result =>
        {
            if (int.TryParse(result.Tokens.SingleOrDefault()?.Value, out int mb) && !BitOperations.IsPow2(mb))
                result.AddError("--buffer-size wants a power of two");
        });
        Option<int> count = Number("--count", "-c", "PACKETS", "End after so many (0: no such end).", 0, 0);
        Option<double> duration = Seconds("--duration", "-a", "End after so many seconds (0: no such end).");
        Option<string> path = Text("--write", "FILE", "Where to, pcapng; - is standard output.", null);
        path.Aliases.Add("-w");
        path.Required = true;
        Option<int> size = Number("--rotate-size", "-C", "MB", "Begin another file after so many million bytes (0: "
            + "never).", 0, 0);
        Option<double> rotate = Seconds("--rotate-seconds", "-G", "Begin another file after so many seconds (0: "
            + "never).");
        Option<int> files = Number("--rotate-files", "-W", "N", "Keep the last N files (0: all).", 0, 0);
        var filter = new Argument<string[]>("filter") { Description = "Which packets, as of pcap-filter(7): udp port "
            + "53. Put -- before one that begins with a minus.", Arity = ArgumentArity.ZeroOrMore };
        var command = new Command("capture", "Write packets of a running application to a pcapng file, or into 'tshark "
            + "-i -'. The application is not slowed but for copying what the filter takes; what does not fit is "
            + "dropped and counted. Ends with Ctrl-C.")
        {
            filter, prefix, pid, port, queue, direction, snapLength, buffer, count, duration, path, size, rotate, files,
        };
        command.SetAction(result => Run(new CaptureOptions
        {
            FilePrefix = result.GetValue(prefix)!,
            ProcessId = result.GetValue(pid),
            Port = result.GetValue(port)!,
            Queue = result.GetValue(queue),
            Direction = result.GetValue(direction) switch
            {
                "rx" => CaptureDirection.Receive,
                "tx" => CaptureDirection.Transmit,
                _ => CaptureDirection.Receive | CaptureDirection.Transmit,
            },
            SnapLength = result.GetValue(snapLength),
            BufferMb = result.GetValue(buffer),
            Count = (ulong)result.GetValue(count),
            Seconds = result.GetValue(duration),
            Path = result.GetValue(path)!,
            RotateBytes = result.GetValue(size) * 1_000_000L,
            RotateSeconds = result.GetValue(rotate),
            RotateFiles = result.GetValue(files),
            Filter = string.Join(' ', result.GetValue(filter) ?? []),
        }, error));
        return command;
    }

    private static int Run(CaptureOptions options, TextWriter error)
    {
        if (options.Path == "-" && (options.RotateBytes > 0 || options.RotateSeconds > 0))
            throw new ConfigException("standard output cannot be rotated", fix: "give a file: -w FILE");
        using var stop = new CancellationTokenSource();
        void Stop(PosixSignalContext signal)
        {
            signal.Cancel = !stop.IsCancellationRequested;      // the second ends the process
            stop.Cancel();
        }
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var run = new CaptureRun(options);
        string ports = string.Join(", ", run.Queues.Select(queue => queue.PortName).Distinct());
        error.WriteLine($"capturing {ports} of process {run.ProcessId}, {run.Queues.Count} queues");
        error.Flush();
        bool wasThere = run.Run(stop.Token);
        if (!wasThere)
            error.WriteLine("the application ended");
        Tell(error, run.Written, "captured");
        Tell(error, run.Total.Accepted, $"taken by the filter, {Grouped(run.Total.Seen)} seen");
        Tell(error, run.Total.Dropped, "dropped for want of room" + (run.Total.Dropped == 0 ? ""
            : ": a narrower filter, a smaller --snaplen or a larger --buffer-size helps"));
        return CommandLine.Ok;
    }

    private static void Tell(TextWriter error, ulong packets, string what) =>
        error.WriteLine($"{Grouped(packets)} packet{(packets == 1 ? "" : "s")} {what}");

    private static string Grouped(ulong number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static Option<string> Text(string name, string placeholder, string help, string? value)
    {
        var option = new Option<string>(name) { Description = help, HelpName = placeholder };
        if (value != null)
            option.DefaultValueFactory = _ => value;
        return option;
    }

    private static Option<int> Number(string name, string alias, string placeholder, string help, int value, int least)
    {
        var option = new Option<int>(name, alias) { Description = help, HelpName = placeholder,
            DefaultValueFactory = _ => value };
        option.Validators.Add(result =>
        {
            if (int.TryParse(result.Tokens.SingleOrDefault()?.Value, out int given) && given < least)
                result.AddError($"{name} wants {least} or more");
        });
        return option;
    }

    private static Option<double> Seconds(string name, string alias, string help)
    {
        var option = new Option<double>(name, alias) { Description = help, HelpName = "SECONDS" };
        option.Validators.Add(result =>
        {
            if (double.TryParse(result.Tokens.SingleOrDefault()?.Value, CultureInfo.InvariantCulture, out double given)
                && given < 0)
                result.AddError($"{name} wants 0 or more");
        });
        return option;
    }
}
