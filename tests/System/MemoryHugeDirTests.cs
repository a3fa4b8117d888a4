namespace Dataplane.Tests;

[Collection(HugepageCollection.Name)]
public sealed class MemoryHugeDirTests
{
    private static EalOptions Options(string directory, string prefix = "one") =>
        new() { MemoryMb = 4, HugeDir = directory, FilePrefix = prefix };

    [Fact]
    public void Create_HugeDir_MakesNamedFilesAndRemovesThem()
    {
        using var pages = new HugepageReservation(4);
        using var mount = new Mount();
        using (Memory memory = Memory.Create(Options(mount.Directory)))
        {
            Assert.Equal(["onemap_0_2048", "onemap_lock"], mount.Files);
            Assert.Equal(2u << 20, memory.ReserveMemzone("z", 100).PageSizeBytes);
        }
        Assert.Empty(mount.Files);
        Assert.Equal(4, pages.Free);
    }

    [Fact]
    public void Create_PrefixInUse_NamesTheHolderAndTouchesNothing()
    {
        using var pages = new HugepageReservation(8);
        using var mount = new Mount();
        using var child = new MemoryChild(mount.Directory, "one");
        var thrown = Assert.Throws<ConfigException>(() => Memory.Create(Options(mount.Directory)));
        Assert.Contains($"process {child.Id} (", thrown.Why, StringComparison.Ordinal);
        Assert.Equal(["onemap_0_2048", "onemap_lock"], mount.Files);
        using Memory other = Memory.Create(Options(mount.Directory, "two"));
        Assert.Equal(4, mount.Files.Length);
    }

    [Fact]
    public void Create_AfterKill_RemovesTheDeadProcessFilesAndOnlyThose()
    {
        using var pages = new HugepageReservation(4);
        using var mount = new Mount();
        File.Create(Path.Combine(mount.Directory, "onemap_other")).Dispose();
        File.Create(Path.Combine(mount.Directory, "threemap_0_2048")).Dispose();
        using (var child = new MemoryChild(mount.Directory, "one"))
            child.Kill();
        Assert.Equal(0, pages.Free);   // named files outlive their process
        using (Memory.Create(Options(mount.Directory) with { MemoryMb = null }))
            Assert.Equal(4, pages.Free);
        Assert.Equal(["onemap_other", "threemap_0_2048"], mount.Files);
        Memory.Create(Options(mount.Directory) with { MemoryMb = 8 }).Dispose();
    }

    [Fact]
    public void Create_TooFewPages_LeavesNoFile()
    {
        using var pages = new HugepageReservation(2);
        using var mount = new Mount();
        Assert.Throws<DataplaneException>(() => Memory.Create(Options(mount.Directory) with { MemoryMb = 64 }));
        Assert.Empty(mount.Files);
    }

    [Fact]
    public void Create_NotHugetlbfs_SaysHowToMountOne()
    {
        var thrown = Assert.Throws<ConfigException>(() => Memory.Create(Options(Path.GetTempPath())));
        Assert.Contains("mount -t hugetlbfs", thrown.Fix, StringComparison.Ordinal);
        Assert.Equal(Errno.ENOENT, Assert.Throws<NativeException>(() => Memory.Create(Options("/no/such/directory")))
            .Errno);
    }

    private sealed class Mount : IDisposable
    {
        internal Mount()
        {
            Host.Require("mount", "umount");
            Host.Run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", Directory);
        }

        internal string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("huge").FullName;

        internal string[] Files => [.. System.IO.Directory.EnumerateFiles(Directory)
            .Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];

        public void Dispose()
        {
            Host.Run("umount", Directory);
            System.IO.Directory.Delete(Directory);
        }
    }
}
