using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>Takes pages from the kernel, at start and when a heap runs dry, and tells the watchers. The owner
/// locks.</summary>
internal sealed unsafe class MemoryGrower
{
    private const nuint OrdinaryStep = 4 << 20;     // ordinary pages are taken in steps of at least this
    private const nuint LargestSurplus = 32 << 20;  // taken beyond the need at most, to keep memsegs few

    private readonly MemoryLayout _layout;
    private readonly MemoryConfig _config;
    private readonly ILogger? _log;
    private readonly bool _manyNodes;
    private readonly List<IMemsegWatcher> _watchers = [];
    private bool _warnedOrdinary, _warnedBind;

    internal MemoryGrower(MemoryLayout layout, MemoryConfig config, ILogger? log)
    {
        _layout = layout;
        _config = config;
        _log = log;
        _manyNodes = layout.Heaps.Length > 1;
    }

    /// <summary>Takes what was asked for at start.</summary>
    /// <exception cref="DataplaneException">The kernel refused although it had counted enough.</exception>
    internal void TakeAtStart(IEnumerable<PageDemand> plan)
    {
        foreach (PageDemand demand in plan)
        {
            int list = Array.FindIndex(_layout.Lists,
                l => l.NumaNode == demand.NumaNode && l.PageSize == demand.PageSizeBytes);
            try
            {
                Add(list, (nuint)demand.Pages * demand.PageSizeBytes);
            }
            catch (NativeException e)
            {
                string size = HugepagePool.SizeName(demand.PageSizeBytes);
                throw new DataplaneException($"cannot take {demand.Pages} pages of {size} on node {demand.NumaNode}",
                    why: "the kernel counted them free but did not give them: another process was faster, or the "
                        + "hugetlb or memory limit of this control group is lower",
                    fix: "try again, and look at hugetlb.*.max and memory.max in " + ControlGroup(),
                    see: "docs/setup/hugepages.md", errno: e.Errno, inner: e);
            }
        }
    }

    /// <summary>Gives a node's heap more memory, so that the request can be served.</summary>
    /// <param name="node">The node.</param>
    /// <param name="request">What has to fit.</param>
    /// <param name="huge">From hugepages; else from ordinary ones.</param>
    /// <returns>False when the kernel has none left.</returns>
    internal bool TryGrow(int node, BlockRequest request, bool huge)
    {
        List<HugepagePool> pools = huge ? HugepagePool.ReadAll(_config.Sys) : [];
        foreach (int list in Candidates(node, request, huge))
        {
            MemsegList target = _layout.Lists[list];
            nuint free = Math.Min(target.FreeAtEnd, request.WorstCaseBytes);
            nuint need = request.WorstCaseBytes - (request.IovaContiguous || request.BoundBytes > 0 ? 0 : free);
            need = Heap.RoundUp(Math.Max(need, huge ? 1 : OrdinaryStep), target.PageSize);
            nuint has = huge
                ? (nuint)pools.Find(p => p.NumaNode == node && p.PageSizeBytes == target.PageSize)
                .Free * target.PageSize
                : OrdinaryMemory.AvailableBytes();
            has = Math.Min(has, target.Header->ReservedBytes - target.Committed);
            if (need > has)
                continue;
            nuint surplus = Math.Min(target.Committed / 4, LargestSurplus) & ~(target.PageSize - 1);
            if ((need + surplus <= has && surplus > 0 && TryAdd(list, need + surplus)) || TryAdd(list, need))
            {
                WarnOrdinary(huge, "hugepages have run out");
                return true;
            }
        }
        return false;
    }

    /// <summary>Says once that ordinary pages serve.</summary>
    internal void WarnOrdinary(bool huge, string why)
    {
        if (huge || _warnedOrdinary || _config.NoHuge)
            return;
        _warnedOrdinary = true;
        _log?.LogWarning("{Why}: ordinary pages serve, at the price of TLB misses; to reserve some: "
            + "echo 512 | sudo tee {File}", why, HugepagePool.ControlFile(_layout.Heaps[0].NumaNode, 2 << 20));
    }

    internal void Watch(IMemsegWatcher watcher)
    {
        foreach (MemsegList list in _layout.Lists)
            foreach (Memseg memseg in list.Memsegs)
                watcher.MemsegAdded(memseg);
        _watchers.Add(watcher);
    }

    internal void Unwatch(IMemsegWatcher watcher) => _watchers.Remove(watcher);

    /// <summary>Tells every watcher that everything goes.</summary>
    internal void AnnounceEnd()
    {
        foreach (IMemsegWatcher watcher in _watchers)
            foreach (MemsegList list in _layout.Lists)
                foreach (Memseg memseg in list.Memsegs)
                    watcher.MemsegRemoved(memseg);
        _watchers.Clear();
    }

    // The largest pages the request fills first, then ever larger ones: a small request does not take a 1G page
    // while there are 2M ones.
    private IEnumerable<int> Candidates(int node, BlockRequest request, bool huge)
    {
        int[] fitting = [.. Enumerable.Range(0, _layout.Lists.Length)
            .Where(i => _layout.Lists[i].NumaNode == node && _layout.Lists[i].IsHuge == huge)];
        bool Fills(int i) => _layout.Lists[i].PageSize <= request.WorstCaseBytes;
        return fitting.Where(Fills).OrderByDescending(i => _layout.Lists[i].PageSize)
            .Concat(fitting.Where(i => !Fills(i)).OrderBy(i => _layout.Lists[i].PageSize));
    }

    private bool TryAdd(int list, nuint sizeBytes)
    {
        try
        {
            Add(list, sizeBytes);
            return true;
        }
        catch (NativeException e) when (e.Errno is Errno.ENOMEM or Errno.ENOSPC or Errno.EFAULT)
        {
            return false;   // somebody else took them, or a control group forbids: the next kind of page may do
        }
    }

    private void Add(int list, nuint sizeBytes)
    {
        MemsegList target = _layout.Lists[list];
        Memseg memseg = target.Commit(sizeBytes, _manyNodes, out bool bound);
        if (!bound && !_warnedBind)
        {
            _warnedBind = true;
            _log?.LogWarning("memory may be on the wrong NUMA node: mbind is refused here; in a container add "
                + "SYS_NICE");
        }
        Announce(target, memseg);
        target.Publish(memseg);
        foreach (Heap heap in _layout.Heaps)
            if (heap.NumaNode == target.NumaNode)
                heap.AddMemory(list, (byte*)memseg.Address, sizeBytes);
    }

    private void Announce(MemsegList target, Memseg memseg)
    {
        int told = 0;
        try
        {
            for (; told < _watchers.Count; told++)
                _watchers[told].MemsegAdded(memseg);
        }
        catch
        {
            while (--told >= 0)
                _watchers[told].MemsegRemoved(memseg);
            target.Rollback(memseg);
            throw;
        }
    }

    private static string ControlGroup()
    {
        string line = File.ReadLines("/proc/self/cgroup").LastOrDefault("0::/");
        return "/sys/fs/cgroup" + line[(line.LastIndexOf(':') + 1)..];
    }
}
