using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.Tests;

/// <summary>Debug mode is fixed when a process starts, so these run in a child process that has it on.</summary>
public class MbufDebugModeTests
{
    [Fact]
    public async Task DebugMode_InAProcessThatHasItOn_EveryTestPasses()
    {
        int tests = typeof(MbufDebugTests).GetMethods().Count(m => m.IsDefined(typeof(FactAttribute), false));
        var start = new ProcessStartInfo(Environment.ProcessPath!)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // Hosted by "dotnet x.dll" or an executable of its own.
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet")
            start.ArgumentList.Add(typeof(MbufDebugTests).Assembly.Location);
        string[] arguments = ["-class", typeof(MbufDebugTests).FullName!, "-explicit", "only", "-noColor"];
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment["DATAPLANE_MBUF_DEBUG"] = "1";
        using Process child = Process.Start(start)!;
        Task<string> errors = child.StandardError.ReadToEndAsync();
        string output = await child.StandardOutput.ReadToEndAsync();
        await child.WaitForExitAsync();
        Assert.True(child.ExitCode == 0, output + await errors);
        Match total = Regex.Match(output, @"Total: (\d+), Errors: 0, Failed: 0, Skipped: 0, Not Run: 0");
        Assert.True(total.Success && int.Parse(total.Groups[1].Value, CultureInfo.InvariantCulture) >= tests, output);
    }

    [Fact]
    public void DebugMode_NotAskedFor_IsOff() => Assert.False(MbufDebug.Enabled);
}

public sealed unsafe class MbufDebugTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());
    private readonly Mempool _pool;

    public MbufDebugTests() => _pool = Mempool.CreateMbufPool(_eal.Memory, "debugged", 8, dataRoomBytes: 300);

    public void Dispose() => _eal.Dispose();

    private static string Violation(Action action) => Assert.Throws<DataplaneException>(action).Message;

    private void Free(Mbuf m) => m.Free();

    [Fact(Explicit = true)]
    public void Free_Twice_NamesBothSites()
    {
        Mbuf m = _pool.Alloc();
        Free(m);
        string message = Violation(m.Free);
        Assert.Contains("freed twice", message);
        Assert.Contains("MbufDebugTests.Free", message);
        Assert.Contains(nameof(Free_Twice_NamesBothSites), message);
    }

    [Fact(Explicit = true)]
    public void FreeBulk_SameMbufTwiceInOneBurst_IsFound()
    {
        Mbuf m = _pool.Alloc();
        Assert.Contains("freed twice", Violation(() => Mbuf.FreeBulk([m, m])));
    }

    [Fact(Explicit = true)]
    public void Data_AfterFree_IsFound()
    {
        Mbuf m = _pool.Alloc();
        m.Free();
        Assert.Contains("used after it was freed", Violation(() => _ = m.Data));
        Assert.Contains("used after it was freed", Violation(() => m.Append(1)));
    }

    [Theory(Explicit = true), InlineData(true), InlineData(false)]
    public void Alloc_OfOneWrittenAfterFree_IsFound(bool inBuffer)
    {
        Mbuf m = _pool.Alloc();
        byte* data = m.DataPointer;
        m.Free();
        if (inBuffer)
            data[5] ^= 1;
        else
            m.Header->RefCnt = 2;
        Assert.Contains("written after it was freed", Violation(() => _pool.TryAllocBulk(new Mbuf[8])));
    }

    [Fact(Explicit = true)]
    public void Free_BytesWrittenBeyondTheBuffer_IsFound()
    {
        Mbuf m = _pool.Alloc();
        m.Header->BufAddr[((m.BufferLength + 7) / 8 * 8) + 1] = 0;
        Assert.Contains("beyond its end", Violation(m.Free));
    }

    [Fact(Explicit = true)]
    public void Free_BytesWrittenBeforeTheHeader_IsFound()
    {
        Mbuf m = _pool.Alloc();
        ((byte*)m.Header)[-17] ^= 1;    // the cookie's last byte
        Assert.Contains("bytes before it were overwritten", Violation(m.Free));
    }

    [Fact(Explicit = true)]
    public void PutRawBulk_SharedMbuf_IsFound()
    {
        Mbuf m = _pool.Alloc();
        m.AddReferences(1);
        Assert.Contains("shared", Violation(() => _pool.PutRawBulk([m])));
    }

    [Fact(Explicit = true)]
    public void Report_ThreeHolders_AreGroupedByOwnerAndSite()
    {
        var burst = new Mbuf[5];
        Assert.True(_pool.TryAllocBulk(burst));
        MbufDebug.Transfer(burst.AsSpan(0, 3), MbufOwner.Device, 7);
        using (new MempoolAsLcore(4))
            Assert.True(_pool.TryAlloc(out _));
        string report = MbufDebug.Report(_pool);
        Assert.StartsWith("mempool 'debugged': 6 objects are out\n  3 with device 7", report);
        Assert.Contains("2 with the application (no lcore)", report);
        Assert.Contains("1 with the application on lcore 4, last seen at Dataplane.Tests.MbufDebugTests."
            + nameof(Report_ThreeHolders_AreGroupedByOwnerAndSite), report);
        Assert.Contains("3 with device 7", Violation(() => _pool.GetBulk(new nint[3])));
    }

    [Fact(Explicit = true)]
    public void Dispose_WithMbufsOut_SaysWhoHasThem()
    {
        Mbuf m = _pool.Alloc();
        string message = Violation(_pool.Dispose);
        Assert.Contains("objects out", message);
        Assert.Contains(nameof(Dispose_WithMbufsOut_SaysWhoHasThem), message);
        Assert.Null(Mempool.Lookup(_eal.Memory, "debugged"));
        Assert.NotEqual(default, m);
    }

    [Fact(Explicit = true)]
    public void Everything_UsedRightly_IsSilent()
    {
        using var lcore = new MempoolAsLcore(1);
        using Mempool raw = Mempool.Create(_eal.Memory, "raw", 32, 20, cacheSize: 8);
        var random = new Random(1);
        for (int round = 0; round < 50; round++)
        {
            var items = new nint[random.Next(1, 10)];
            Assert.True(raw.TryGetBulk(items));
            foreach (nint item in items)
                new Span<byte>((void*)item, 20).Fill((byte)round);
            raw.PutBulk(items);
            Mbuf a = _pool.Alloc(), b = _pool.Alloc();
            a.Append(100);
            b.Append(30);
            Assert.True(a.TryChain(b));
            Assert.True(a.TryClone(_pool, out Mbuf clone));
            Assert.True(a.TryCopy(_pool, 10, 200, out Mbuf copy));
            Mbuf.FreeBulk([a, clone]);
            copy.Free();
        }
        Assert.Equal(8, _pool.AvailableCount);
        _pool.Dispose();
    }
}
