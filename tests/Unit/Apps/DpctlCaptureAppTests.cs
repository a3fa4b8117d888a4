using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Dataplane.Tests;

/// <summary>dpctl capture as a user runs it, on this process's port.</summary>
public sealed partial class DpctlCaptureAppTests : IDisposable
{
    private readonly CaptureRig _rig = new();
    private readonly PcapFolder _folder = new();

    public void Dispose()
    {
        _rig.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(AppProcess.SigInt, 1)]
    [InlineData(AppProcess.SigTerm, 2)]   // as timeout(1) does
    public void Signal_EndsIt_WithAWholeFile(int signal, int times)
    {
        using Process capture = Start();
        for (int i = 0; i < times; i++)
            AppProcess.Signal(capture, signal);
        AssertWhole(AppProcess.End(capture), "0 packets captured");
    }

    /// <summary>A pipe is opened before anything is captured: until somebody reads it nothing is attached, and nothing
    /// lost.</summary>
    [Fact]
    public async Task NamedPipe_WithoutAReader_IsWaitedForBeforeItAttaches()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        Assert.Equal(0, MakeFifo(_folder["pipe"], 0x180));
        using Process capture = AppProcess.Start("Dpctl", "capture", "--file-prefix", _rig.Prefix, "-w",
            _folder["pipe"], "-c", "2");
        Assert.Contains("waiting for a program that reads", await NextLine(capture), StringComparison.Ordinal);
        Assert.Equal(0, _rig.Sessions);
        Task<byte[]> reader = Task.Run(() => File.ReadAllBytes(_folder["pipe"]), cancel);
        Assert.StartsWith("capturing net_fake0", await NextLine(capture), StringComparison.Ordinal);
        Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(new byte[60])]));
        Assert.Equal(1, _rig.ReceiveAll());
        AppResult result = AppProcess.End(capture);
        Assert.True(result.Exit == 0 && result.Errors.Contains("2 packets captured", StringComparison.Ordinal),
            result.All);
        Assert.Equal(0x0a0d0d0au, BitConverter.ToUInt32(await reader.WaitAsync(CaptureRig.Patience, cancel)));
    }

    [Fact]
    public async Task NamedPipe_ThatNobodyReads_CanBeGivenUp()
    {
        Assert.Equal(0, MakeFifo(_folder["pipe"], 0x180));
        using Process capture = AppProcess.Start("Dpctl", "capture", "--file-prefix", _rig.Prefix, "-w",
            _folder["pipe"]);
        Assert.Contains("waiting for", await NextLine(capture), StringComparison.Ordinal);
        AppProcess.Signal(capture, AppProcess.SigInt);
        AppResult result = AppProcess.End(capture);
        Assert.True(result.Exit == 0 && result.Errors.Contains("nothing was captured", StringComparison.Ordinal),
            result.All);
    }

    /// <summary>What it says next; one that says nothing, for it waits for a reader that will not come, is ended.
    /// </summary>
    private static async Task<string?> NextLine(Process process)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        Task<string?> line = process.StandardError.ReadLineAsync(cancel).AsTask();
        if (await Task.WhenAny(line, Task.Delay(CaptureRig.Patience, cancel)) != line)
            process.Kill();
        return await line;
    }

    [LibraryImport("libc", EntryPoint = "mkfifo", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeFifo(string path, uint mode);

    [Fact]
    public void PortThatIsConfiguredAnew_EndsIt_AndItSaysWhy()
    {
        using Process capture = Start();
        Assert.Equal(1, _rig.Port.TxQueues[0].TxBurst([_rig.Make(new byte[60])]));
        Assert.Equal(1, _rig.ReceiveAll());
        _rig.Port.Stop();
        _rig.Port.Configure(new PortConfig { RxQueues = 1, TxQueues = 1 });
        AppResult result = AppProcess.End(capture);
        AssertWhole(result, "closed or configured anew");
        AssertWhole(result, "2 packets captured");
        _rig.WaitForNone();
    }

    [Theory]
    [InlineData("--buffer-size wants 1 to 256, not 4096", "-B", "4096")]
    [InlineData("power of two", "-B", "3")]
    [InlineData("--snaplen wants 16 to 262144, not 262145", "-s", "262145")]
    [InlineData("--queue wants 0 to", "--queue", "-1")]
    [InlineData("--count wants 0 to", "-c", "-1")]
    [InlineData("--duration wants 0 to", "-a", "0,5")]
    [InlineData("--rotate-seconds wants 0 to", "-G", "NaN")]
    public void Number_OutOfItsLimits_IsRefused(string word, params string[] arguments)
    {
        using var host = new FakeHost();
        (int code, string output, string error) = host.Dpctl(["capture", "--file-prefix", _rig.Prefix, "-w",
            _folder["x"], .. arguments]);
        Assert.True(code == 2 && error.Contains(word, StringComparison.Ordinal), output + error);
    }

    /// <summary>The application's snap length is less than was asked for where the rings are small.</summary>
    [Fact]
    public void SnapLengthInTheFile_IsTheApplications()
    {
        using Process capture = Start("-B", "1");
        AppProcess.Signal(capture, AppProcess.SigInt);
        AssertWhole(AppProcess.End(capture), "0 packets captured");
        byte[] file = File.ReadAllBytes(_folder["cap"]);
        int second = BitConverter.ToInt32(file, 4);     // the interface, behind the section's header
        Assert.Equal((1u, (1u << 20) / 4 - CaptureRecord.Unit), (BitConverter.ToUInt32(file, second),
            BitConverter.ToUInt32(file, second + 12)));
    }

    private Process Start(params string[] arguments)
    {
        Process capture = AppProcess.Start("Dpctl", ["capture", "--file-prefix", _rig.Prefix, "-w", _folder["cap"],
            .. arguments]);
        string? line = capture.StandardError.ReadLine();
        Assert.StartsWith("capturing net_fake0", line, StringComparison.Ordinal);
        return capture;
    }

    /// <summary>It ended well, said so, and the file ends with its counts.</summary>
    private void AssertWhole(AppResult result, string says)
    {
        Assert.True(result.Exit == 0 && result.Errors.Contains(says, StringComparison.Ordinal), result.All);
        byte[] file = File.ReadAllBytes(_folder["cap"]);
        int last = 0, at = 0;
        for (; at < file.Length; at += BitConverter.ToInt32(file, at + 4))
            last = at;
        Assert.Equal((file.Length, 5u), (at, BitConverter.ToUInt32(file, last)));    // interface statistics
    }
}
