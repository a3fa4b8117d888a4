using System.Diagnostics;

namespace Dataplane.Tests;

[Collection(HugepageCollection.Name)]
public sealed unsafe class MemoryHugepageTests
{
    private const nuint M2 = 2 << 20, G1 = 1 << 30;

    private static long ProcessHugetlbKb() => long.Parse(File.ReadLines("/proc/self/status")
        .Single(line => line.StartsWith("HugetlbPages:", StringComparison.Ordinal))
        .Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2]);

    private static int Leftovers(string prefix) =>
        Directory.EnumerateFiles("/proc/self/fd")
        .Count(fd => new FileInfo(fd).LinkTarget?.Contains(prefix, StringComparison.Ordinal) == true)
        + File.ReadLines("/proc/self/maps").Count(line => line.Contains(prefix, StringComparison.Ordinal));

    [Fact]
    public void Create_AmountGiven_TakesHugepagesAtStart()
    {
        using var pages = new HugepageReservation(32);
        using Memory memory = Memory.Create(new EalOptions { MemoryMb = 40 });
        Memseg memseg = Assert.Single(memory.Memsegs);
        Assert.Equal((M2, 20 * M2, 0), (memseg.PageSizeBytes, memseg.SizeBytes, memseg.NumaNode));
        Assert.Equal(12, pages.Free);
        Assert.Equal(40 * 1024, ProcessHugetlbKb());   // in our page tables: no fault to come
        Assert.Equal(M2, memory.ReserveMemzone("z", 30 << 20).PageSizeBytes);
        memory.Dispose();
        Assert.Equal(32, pages.Free);
    }

    [Fact]
    public void Malloc_NothingGiven_GrowsOnHugepagesThenOnOrdinaryOnes()
    {
        using var pages = new HugepageReservation(8);
        using Memory memory = Memory.Create(new EalOptions());
        Assert.Empty(memory.Memsegs);
        Assert.Equal(M2, memory.ReserveMemzone("huge", 5 << 20).PageSizeBytes);
        Assert.Equal(5, pages.Free);
        Assert.Equal(4096u, memory.ReserveMemzone("ordinary", 20 << 20).PageSizeBytes);
        Assert.Equal(M2, memory.ReserveMemzone("huge again", 1 << 20).PageSizeBytes);
        memory.Validate();
    }

    [Fact]
    public void Malloc_AmountGivenAndUsedUp_GrowsOnHugepagesOnlyThenSaysWhatIsMissing()
    {
        using var pages = new HugepageReservation(8);
        using Memory memory = Memory.Create(new EalOptions { MemoryMb = 8 });
        Assert.Equal(M2, memory.ReserveMemzone("grown", 7 << 20).PageSizeBytes);
        var thrown = Assert.Throws<DataplaneException>(() => memory.ReserveMemzone("too much", 64 << 20));
        Assert.Equal(Errno.ENOMEM, thrown.Errno);
        Assert.Contains("nr_hugepages", thrown.Fix, StringComparison.Ordinal);
        Assert.Null(memory.LookupMemzone("too much"));
        memory.Validate();
    }

    [Fact]
    public void Create_TooFew_TakesNothingAndItsCommandFixesIt()
    {
        using var pages = new HugepageReservation(4);
        var thrown = Assert.Throws<DataplaneException>(() => Memory.Create(new EalOptions { MemoryMb = 64 }));
        Assert.Contains("2M pages: need 32, have 4 free", thrown.Why, StringComparison.Ordinal);
        Assert.Equal(4, pages.Free);
        string command = thrown.Fix!.Split('\n')[0].Replace("sudo ", "", StringComparison.Ordinal);
        using (Process shell = Process.Start("/bin/sh", ["-c", command + " > /dev/null"]))
            shell.WaitForExit();
        Memory.Create(new EalOptions { MemoryMb = 64 }).Dispose();
    }

    [Fact]
    public void Create_PagesGoneAfterCounting_IsAnErrorAndKeepsNothing()
    {
        using var pages = new HugepageReservation(4);
        using var sys = new LyingSys(free: 100);
        var config = new MemoryConfig { TotalBytes = 64 << 20, Sys = sys.Root };
        var thrown = Assert.Throws<DataplaneException>(() => Memory.Create(config, new PageSource("gone")));
        Assert.Equal(Errno.ENOMEM, thrown.Errno);
        Assert.Equal(4, pages.Free);
        Assert.Equal(0, Leftovers(":gone:"));
    }

    [Fact]
    public void Create_GigabytePages_AreUsedFirst()
    {
        using var pages = new HugepageReservation(1, kb: 1048576);
        using Memory memory = Memory.Create(new EalOptions { MemoryMb = 1024 });
        Memseg memseg = Assert.Single(memory.Memsegs);
        Assert.Equal((G1, G1), (memseg.PageSizeBytes, memseg.SizeBytes));
        Assert.Equal(0u, memseg.Address % G1);
        Assert.Equal(0, pages.Free);
    }

    [Fact]
    public void CreateDispose_ThousandTimes_LeaksNothing()
    {
        using var pages = new HugepageReservation(8);
        var options = new EalOptions { MemoryMb = 2, FilePrefix = "hugecycle" };
        int files = Directory.GetFiles("/proc/self/fd").Length;
        for (int i = 0; i < 1000; i++)
        {
            using Memory memory = Memory.Create(options);
            memory.ReserveMemzone("zone", 3 << 20);
        }
        Assert.True(pages.ComesBackTo(8));
        Assert.Equal(0, ProcessHugetlbKb());
        Assert.Equal(0, Leftovers(":hugecycle:"));
        Assert.InRange(Directory.GetFiles("/proc/self/fd").Length, 0, files + 3);   // the runtime opens some of its own
    }

    [Fact]
    public void ToIova_Physical_IsThePageTheKernelCallsHuge()
    {
        using var pages = new HugepageReservation(8);
        using Memory memory = Memory.Create(new EalOptions { MemoryMb = 16, IovaMode = IovaMode.Pa });
        byte* block = (byte*)memory.Malloc(8 << 20);
        using FileStream flags = File.OpenRead("/proc/kpageflags");
        byte[] word = new byte[8];
        for (int at = 4096; at < 8 << 20; at += 2 << 20)
        {
            ulong iova = memory.ToIova(block + at).Value;
            Assert.Equal((nuint)(block + at) % M2, (nuint)iova % M2);
            flags.Position = (long)(iova / 4096 * 8);
            flags.ReadExactly(word);
            const int KpfHuge = 17;   // linux/kernel-page-flags.h
            Assert.Equal(1u, BitConverter.ToUInt64(word) >> KpfHuge & 1);
        }
    }

    [Fact]
    public void Kill_MemfdProcess_LeavesNoPageBehind()
    {
        using var pages = new HugepageReservation(8);
        using var child = new MemoryChild("", "killed");
        Assert.Equal(4, pages.Free);
        child.Kill();
        Assert.True(pages.ComesBackTo(8));
    }

    private sealed class LyingSys : IDisposable
    {
        internal LyingSys(int free)
        {
            string pool = $"{Root}/devices/system/node/node0/hugepages/hugepages-2048kB";
            Directory.CreateDirectory(pool);
            File.WriteAllText($"{Root}/devices/system/node/has_memory", "0");
            File.WriteAllText($"{pool}/nr_hugepages", $"{free}");
            File.WriteAllText($"{pool}/free_hugepages", $"{free}");
        }

        internal string Root { get; } = Directory.CreateTempSubdirectory("sys").FullName;

        public void Dispose() => Directory.Delete(Root, recursive: true);
    }
}
