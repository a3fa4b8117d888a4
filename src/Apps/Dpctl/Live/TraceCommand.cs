using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Dataplane.Native;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl trace</c>: the next packets' way through a running application.</summary>
internal static class TraceCommand
{
    private const int PollMs = 50, MostInstructions = 60;

    internal static Command Build(TextWriter output, TextWriter error)
    {
        (Option<string?> prefix, Option<int?> pid) = TopCommand.AppOptions();
        Option<int> count = NumberOption.Whole("--count", "Packets, 1 to 1000.", 10, 1, 1000, "N", "-c");
        Option<string?> port = new("--port", "-i") { Description = "Only those received by this port: name or number.",
            HelpName = "PORT" };
        Option<string?> filter = new("--filter") { Description = "Only those, as of pcap-filter(7): \"udp port 53\".",
            HelpName = "EXPRESSION" };
        Option<double> wait = NumberOption.Number("--wait", "Seconds to wait for packets and for their end; 0: until "
            + "interrupted.", 0, 0, 1e6);
        var command = new Command("trace", "Follow the next packets through a running application: when each was "
            + "received, which stages it passed and after how many cycles, where it was sent or why it was dropped. "
            + "Exit code 2: not as many came.") { prefix, pid, count, port, filter, wait };
        command.SetAction(result =>
        {
            using TelemetryClient client = TelemetryClient.Connect(result.GetValue(prefix), result.GetValue(pid));
            using var stop = new CancellationTokenSource();
            using var signals = new StopSignals(stop.Cancel);
            if (result.GetValue(wait) is > 0 and double seconds)
                stop.CancelAfter(TimeSpan.FromSeconds(seconds));
            return Run(client, result.GetValue(count), result.GetValue(port), stop.Token, output, error,
                result.GetValue(filter));
        });
        return command;
    }

    internal static int Run(TelemetryClient client, int count, string? port, CancellationToken stop, TextWriter output,
        TextWriter error, string? filter = null)
    {
        Dictionary<long, string> ports = PortNames(client);
        string only = port != null ? "," + FindPort(ports, port) : filter != null ? "," + MbufHeader.NoPort : "";
        if (filter != null)
            only += "," + Program(filter);
        JsonElement? begun = client.Ask($"/dataplane/trace,{count}{only}");
        ulong id = begun.Number("trace");
        if (id == 0)
            throw new DataplaneException($"{TelemetryClient.Name(client.App)} cannot follow packets",
                "it has no command /dataplane/trace", "it is none of Dataplane's applications, or an older one");
        int shown = 0;
        try
        {
            // When the waiting is over, one last look: what has not ended by then is shown as it is.
            for (bool isLast = false; shown < count && !isLast;)
            {
                isLast = stop.WaitHandle.WaitOne(PollMs);
                JsonElement? page;
                do
                {
                    page = client.Ask($"/dataplane/trace/read,{shown}");
                    if (page.Number("trace") != id)
                        throw new DataplaneException("the trace was ended by another that somebody started");
                }
                while (Show(page, ports, isLast, ref shown, output) && shown < count);
            }
        }
        catch (TelemetryEndedException e)
        {
            error.WriteLine($"dpctl: {e.What}");
            return CommandLine.Failed;
        }
        _ = client.Ask("/dataplane/trace,0");
        if (shown == count)
            return CommandLine.Ok;
        error.WriteLine($"dpctl: {shown} of {count} packets came");
        return CommandLine.Failed;
    }

    /// <summary>Prints the packets of a page that have ended, in order.</summary>
    /// <returns>True when there may be more at once.</returns>
    /// <exception cref="DataplaneException">One is left out.</exception>
    private static bool Show(JsonElement? page, Dictionary<long, string> ports, bool alsoOpen, ref int shown,
        TextWriter output)
    {
        IReadOnlyList<JsonElement> packets = page.List("packets");
        int asked = shown;
        foreach (JsonElement? packet in packets.Select(one => (JsonElement?)one))
        {
            if (packet.Get("index") != null && packet.Number("index") != (ulong)shown)
                return shown > asked ? true     // asked for once more
                    : throw new DataplaneException($"the application leaves out packet #{shown + 1}");
            if (packet.Text("end") == "open" && !alsoOpen)
                return false;
            foreach (string line in TraceText.Lines(++shown, packet, page.Number("hz"), ports))
                output.WriteLine(line);
        }
        return packets.Count > 0;
    }

    /// <summary>A filter's program as a telemetry parameter.</summary>
    private static string Program(string filter)
    {
        sock_filter[] program = Pcap.Compile(filter, 1);
        return program.Length <= MostInstructions ? Convert.ToHexString(MemoryMarshal.AsBytes(program.AsSpan()))
            : throw new ConfigException($"the filter '{filter}' is too long",
                $"it has {program.Length} instructions, and {MostInstructions} fit a telemetry request",
                "use a simpler one");
    }

    private static Dictionary<long, string> PortNames(TelemetryClient client)
    {
        var names = new Dictionary<long, string>();
        foreach (long id in client.Ask("/ethdev/list").Numbers())
            names[id] = client.Ask($"/ethdev/info,{id}").Text("name") ?? $"port {id}";
        return names;
    }

    private static long FindPort(Dictionary<long, string> ports, string wanted)
    {
        foreach ((long id, string name) in ports)
            if (name == wanted || id.ToString(CultureInfo.InvariantCulture) == wanted)
                return id;
        throw new ConfigException($"there is no port '{wanted}'", "there are "
            + string.Join(", ", ports.Select(port => $"{port.Value} ({port.Key})")));
    }
}
