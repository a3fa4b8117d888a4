using System.Globalization;

namespace Dataplane.Tests;

/// <summary>Tests that change the machine's hugepages run one after another.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public static class HugepageCollection
{
    internal const string Name = "hugepages";
}

/// <summary>
/// Makes some hugepages of node 0 free for one test and restores the machine's number after. One at a time on the
/// machine, whatever the process.
/// </summary>
internal sealed class HugepageReservation : IDisposable
{
    private readonly FileStream _machineLock;
    private readonly string _pool;
    private readonly int _before;

    internal HugepageReservation(int pages, int kb = 2048)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "needs root: sudo dotnet test tests/System");
        _pool = $"/sys/devices/system/node/node0/hugepages/hugepages-{kb}kB";
        Assert.SkipUnless(Directory.Exists(_pool), $"needs hugepages of {kb} kB in the kernel (CONFIG_HUGETLBFS)");
        _machineLock = LockMachine();
        _before = Read("nr_hugepages");
        if (SpinWait.SpinUntil(() => TryReserve(pages), TimeSpan.FromSeconds(30)))
            return;
        Dispose();
        Assert.Skip($"needs {pages} hugepages of {kb} kB, memory is too fragmented: reboot, or reserve them at boot");
    }

    /// <summary>Pages free now.</summary>
    internal int Free => Read("free_hugepages");

    /// <summary>Waits until so many are free: a process that has just ended gives its pages back a little
    /// later.</summary>
    internal bool ComesBackTo(int pages) => SpinWait.SpinUntil(() => Free == pages, TimeSpan.FromSeconds(60));

    public void Dispose()
    {
        Write(_before);
        _machineLock.Dispose();
    }

    private static FileStream LockMachine()
    {
        for (int i = 0; ; i++)
        {
            try
            {
                return new FileStream(Path.Combine(Path.GetTempPath(), "dataplane-tests-hugepages.lock"),
                    FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (i < 6000)
            {
                Thread.Sleep(100);
            }
        }
    }

    // Other processes may take and give back pages meanwhile.
    private bool TryReserve(int pages)
    {
        Write(Read("nr_hugepages") - Free + pages);
        return Free == pages;
    }

    private int Read(string file) => int.Parse(File.ReadAllText($"{_pool}/{file}"), CultureInfo.InvariantCulture);

    private void Write(int pages) => File.WriteAllText($"{_pool}/nr_hugepages",
        pages.ToString(CultureInfo.InvariantCulture));
}
