using System.CommandLine;
using System.Globalization;
using System.Numerics;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl capture</c>.</summary>
internal static class CaptureVerb
{
    private const int PipeMs = 20;

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
        Option<int?> queue = NumberOption.WholeOrNone("--queue", "One queue of each (all).", 0);
        Option<int?> pid = NumberOption.WholeOrNone("--pid", "Which process, where several have the prefix.", 1, "PID");
        Option<int> snapLength = NumberOption.Whole("--snaplen", "Keep at most so much of a packet.",
            (int)CaptureRequest.MostSnapLength, (int)CaptureRequest.LeastSnapLength, (int)CaptureRequest.MostSnapLength,
            "BYTES", "-s");
        Option<int> buffer = NumberOption.Whole("--buffer-size", "Memory for each queue, a power of two.", 8, 1,
            (int)(CaptureRequest.MostRingBytes >> 20), "MB", "-B");
        buffer.Validators.Add(result =>
        {
            if (int.TryParse(result.Tokens.SingleOrDefault()?.Value, out int mb) && !BitOperations.IsPow2(mb))
                result.AddError("--buffer-size wants a power of two");
        });
        Option<int> count = NumberOption.Whole("--count", "End after so many (0: no such end).", 0, 0, int.MaxValue,
            "PACKETS", "-c");
        Option<double> duration = Seconds("--duration", "-a", "End after so many seconds (0: no such end).");
        Option<string> path = Text("--write", "FILE", "Where to, pcapng; - is standard output.", null);
        path.Aliases.Add("-w");
        path.Required = true;
        Option<int> size = NumberOption.Whole("--rotate-size", "Begin another file after so many million bytes (0: "
            + "never).", 0, 0, int.MaxValue, "MB", "-C");
        Option<double> rotate = Seconds("--rotate-seconds", "-G", "Begin another file after so many seconds (0: "
            + "never).");
        Option<int> files = NumberOption.Whole("--rotate-files", "Keep the last N files (0: all).", 0, 0, int.MaxValue,
            "N", "-W");
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
        using var signals = new StopSignals(stop.Cancel);
        if (!TryOpenPipe(options, stop.Token, error, out SafeFileHandle? pipe))
        {
            error.WriteLine("nothing was captured");
            return CommandLine.Ok;
        }
        using var run = new CaptureRun(options, pipe);
        string ports = string.Join(", ", run.Queues.Select(queue => queue.PortName).Distinct());
        error.WriteLine($"capturing {ports} of process {run.ProcessId}, {run.Queues.Count} queues");
        error.Flush();
        if (run.Run(stop.Token) is { } why)
            error.WriteLine(why);
        Tell(error, run.Written, "captured");
        Tell(error, run.Total.Accepted, $"taken by the filter, {Grouped(run.Total.Seen)} seen");
        Tell(error, run.Total.Dropped, "dropped for want of room" + (run.Total.Dropped == 0 ? ""
            : ": a narrower filter, a smaller --snaplen or a larger --buffer-size helps"));
        return CommandLine.Ok;
    }

    /// <summary>Opens the output where it is a pipe. Before the capture begins: packets would fill its rings while it
    /// waits for somebody to read.</summary>
    /// <returns>False when told to stop.</returns>
    private static bool TryOpenPipe(CaptureOptions options, CancellationToken stop, TextWriter error,
        out SafeFileHandle? pipe)
    {
        pipe = null;
        if (options.RotateBytes > 0 || options.RotateSeconds > 0)
            return true;
        for (bool isTold = false; !PcapWriter.TryOpenPipe(options.Path, out pipe); isTold = true)
        {
            if (!isTold)
                error.WriteLine($"waiting for a program that reads {options.Path}");
            error.Flush();
            if (stop.WaitHandle.WaitOne(PipeMs))
                return false;
        }
        return true;
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

    private static Option<double> Seconds(string name, string alias, string help) =>
        NumberOption.Number(name, help, 0, 0, 1e9, "SECONDS", alias);
}
