using System.Diagnostics;
using System.Globalization;

namespace Dataplane.Tests;

/// <summary>
/// Signals after the first, to a program that cannot end: a capture whose output nobody takes. Each is sent when the
/// kernel has delivered the one before, for two that wait are one (signal(7)).
/// </summary>
public sealed class StopSignalsTests : IDisposable
{
    private const int SameWishMs = 1000;

    private readonly CaptureRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void Second_WithinASecond_IsTheSameWish()
    {
        for (int tries = 0; tries < 20; tries++)
        {
            using Process capture = Start();
            var clock = Stopwatch.StartNew();
            for (int i = 0; i < 3; i++)
                SignalAndWait(capture);
            bool isQuick = clock.ElapsedMilliseconds < SameWishMs / 2;
            // Its output is taken from here on, so that it can end in order.
            var all = new MemoryStream();
            capture.StandardOutput.BaseStream.CopyTo(all);
            AppResult result = AppProcess.End(capture);
            if (!isQuick)
                continue;       // a busy machine: it may have been right to end
            Assert.True(result.Exit == 0, result.All);
            Assert.InRange(all.Length, 2_000_000, int.MaxValue);
            return;
        }
        Assert.Fail("the machine was too busy for three signals in half a second, twenty times");
    }

    [Fact]
    public void Later_ThanASecond_EndsTheProcess()
    {
        using Process capture = Start();
        SignalAndWait(capture);
        Assert.False(capture.WaitForExit(SameWishMs + 200), "it ended although nobody took its output");
        // Once more where the first was heard of late.
        for (int i = 0; i < 50; i++)
        {
            AppProcess.Signal(capture, AppProcess.SigTerm);
            if (capture.WaitForExit(SameWishMs + 200))
                break;
        }
        Assert.True(capture.HasExited, "no signal ends it");
        Assert.Equal(128 + AppProcess.SigTerm, capture.ExitCode);
    }

    /// <summary>A capture with more to write than a pipe takes.</summary>
    private Process Start()
    {
        Process capture = AppProcess.Start("Dpctl", "capture", "--file-prefix", _rig.Prefix, "-w", "-");
        Assert.StartsWith("capturing net_fake0", capture.StandardError.ReadLine(), StringComparison.Ordinal);
        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(new byte[1400])]));
            Assert.Equal(1, _rig.ReceiveAll());
        }
        return capture;
    }

    private static void SignalAndWait(Process process)
    {
        if (!process.HasExited)
            AppProcess.Signal(process, AppProcess.SigTerm);
        Assert.True(SpinWait.SpinUntil(() => !IsPending(process.Id, AppProcess.SigTerm), CaptureRig.Patience));
    }

    // Documentation/filesystems/proc.rst: signals that wait for the process or for a thread of it.
    private static bool IsPending(int process, int signal)
    {
        ulong pending = 0;
        try
        {
            foreach (string task in Directory.GetDirectories($"/proc/{process}/task"))
                foreach (string line in File.ReadLines(task + "/status"))
                    if (line.StartsWith("SigPnd:", StringComparison.Ordinal)
                        || line.StartsWith("ShdPnd:", StringComparison.Ordinal))
                        pending |= ulong.Parse(line.AsSpan(7).Trim(), NumberStyles.HexNumber,
                            CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return Directory.Exists($"/proc/{process}/task");   // a thread of it ended meanwhile: look again
        }
        return (pending >> (signal - 1) & 1) != 0;
    }
}
