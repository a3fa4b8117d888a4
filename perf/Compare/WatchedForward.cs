using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Dataplane.Perf.Compare;

/// <summary>
/// One run of Forward on CPU 1 which in turn is watched and left alone, twenty times each: what it says over telemetry
/// of cycles and packets before and after each window. Both sides are the same process and the same code at the same
/// addresses, so that neither placement nor a machine that is slower for a second is taken for the watching's cost.
/// </summary>
internal sealed class WatchedForward : IDisposable
{
    private const int Rounds = 20, WindowMs = 200, ConnectMs = 30_000;

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
    private readonly byte[] _answer = new byte[16384];
    private readonly Task _run;

    /// <summary>Returns when packets move.</summary>
    public WatchedForward(string[] vdevs, params string[] own)
    {
        const double seconds = 3 + 1.25 * 2 * Rounds * WindowMs / 1000.0;
        _run = Task.Run(() => Applications.Forward("1", vdevs, own, seconds, "--telemetry", "--file-prefix", Prefix)
            .Dispose());
        for (long start = Environment.TickCount64; !IsRunning(); Thread.Sleep(20))
            if (_run.IsCompleted || Environment.TickCount64 - start > ConnectMs)
            {
                _run.GetAwaiter().GetResult();
                throw new DataplaneException("Forward does not answer over telemetry");
            }
    }

    /// <summary>Its file prefix.</summary>
    public string Prefix { get; } = $"compare-{Environment.ProcessId}-{Guid.NewGuid():N}";

    /// <summary>Its telemetry socket.</summary>
    public string Path => TelemetrySocket.RuntimeDirectory(Prefix) + "/dpdk_telemetry.v2";

    /// <summary>Medians of cycles per packet.</summary>
    /// <param name="watch">Begins to watch; what it returns ends that.</param>
    public (double Watched, double Alone) Measure(Func<IDisposable> watch)
    {
        double[] watched = new double[Rounds], alone = new double[Rounds];
        for (int i = 0; i < Rounds; i++)
        {
            // Now this, now that first.
            if (i % 2 == 0)
                alone[i] = Window();
            using (watch())
                watched[i] = Window();
            if (i % 2 != 0)
                alone[i] = Window();
        }
        return (Result.Median(watched), Result.Median(alone));
    }

    /// <summary>Medians of cycles per packet after and before something that was done once.</summary>
    public (double After, double Before) Measure(Action once)
    {
        double[] before = [.. Enumerable.Range(0, Rounds).Select(_ => Window())];
        once();
        return (Result.Median([.. Enumerable.Range(0, Rounds).Select(_ => Window())]), Result.Median(before));
    }

    /// <summary>Waits for its end, which must be in order.</summary>
    public void Dispose()
    {
        _socket.Dispose();
        _run.GetAwaiter().GetResult();
    }

    private double Window()
    {
        (double cycles, double packets) = Read();
        Thread.Sleep(WindowMs);
        (double cyclesAfter, double packetsAfter) = Read();
        return packetsAfter > packets ? (cyclesAfter - cycles) / (packetsAfter - packets)
            : throw new DataplaneException("no packet moved");
    }

    private bool IsRunning()
    {
        try
        {
            if (!_socket.Connected)
            {
                _socket.Connect(new UnixDomainSocketEndPoint(Path));
                _socket.Receive(_answer);
            }
            return Read().Packets > 0;
        }
        catch (SocketException)
        {
            return false;   // not there yet
        }
    }

    private (double Cycles, double Packets) Read()
    {
        JsonElement cycles = Ask("/eal/lcore/usage"), streams = Ask("/forward/streams");
        return (cycles.ValueKind == JsonValueKind.Object ? cycles.GetProperty("busy_cycles").EnumerateArray()
            .Sum(one => one.GetDouble()) : 0, streams.ValueKind == JsonValueKind.Array ? streams.EnumerateArray()
            .Sum(one => one.GetProperty("received").GetDouble() + one.GetProperty("generated").GetDouble()) : 0);
    }

    private JsonElement Ask(string question)
    {
        _socket.Send(Encoding.ASCII.GetBytes(question));
        return JsonDocument.Parse(_answer.AsMemory(0, _socket.Receive(_answer)).ToArray()).RootElement
            .EnumerateObject().First().Value;
    }
}
