namespace Dataplane.Tests;

public sealed class MemoryPlanTests
{
    private const nuint M2 = 2 << 20, G1 = 1 << 30;

    private static readonly HugepagePool[] s_two =
        [new(0, G1, 2, 2), new(0, M2, 600, 512), new(1, G1, 0, 0), new(1, M2, 100, 100)];

    private static MemoryConfig Total(ulong mb, params (int Node, int Lcores)[] lcores) =>
        new() { TotalBytes = mb << 20, LcoresByNode = lcores.ToDictionary(l => l.Node, l => l.Lcores) };

    private static MemoryConfig PerNode(params ulong[] mb) => new() { NodeBytes = [.. mb.Select(m => m << 20)] };

    [Fact]
    public void Compute_PerNode_TakesTheLargestThatFitFirst() =>
        Assert.Equal([new(0, G1, 1), new(0, M2, 238), new(1, M2, 50)],
            MemoryPlan.Compute(PerNode(1500, 100), s_two));

    [Fact]
    public void Compute_SmallPagesRunOut_RoundsUpToALargerPage() =>
        Assert.Equal([new(0, G1, 1)], MemoryPlan.Compute(PerNode(1000), [new(0, G1, 2, 2), new(0, M2, 100, 100)]));

    [Fact]
    public void Compute_OddSize_RoundsUpToAPage() =>
        Assert.Equal([new(0, M2, 2)], MemoryPlan.Compute(PerNode(3), s_two));

    [Fact]
    public void Compute_Total_IsSharedByLcores() =>
        Assert.Equal([new(0, M2, 50), new(1, M2, 50)], MemoryPlan.Compute(Total(200, (0, 2), (1, 2)), s_two));

    [Fact]
    public void Compute_TotalBeyondANode_SpillsToTheOther() =>
        Assert.Equal([new(0, M2, 400), new(1, M2, 100)], MemoryPlan.Compute(Total(1000, (1, 2)), s_two));

    [Fact]
    public void Compute_TooFew_SaysHaveNeedAndTheCommandForEachNode()
    {
        var thrown = Assert.Throws<DataplaneException>(() => MemoryPlan.Compute(PerNode(8192, 4096), s_two));
        Assert.Equal(Errno.ENOMEM, thrown.Errno);
        Assert.Contains("node 0: need 8192 MB; 1G pages: need 8, have 2 free of 2 or 2M pages: need 4096, have 512 "
            + "free of 600", thrown.Why, StringComparison.Ordinal);
        Assert.Contains("node 1: need 4096 MB; 1G pages: need 4, have 0 free of 0 or 2M pages: need 2048, have 100 "
            + "free of 100", thrown.Why, StringComparison.Ordinal);
        Assert.Contains("echo 4184 | sudo tee /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
            thrown.Fix, StringComparison.Ordinal);
        Assert.Contains("echo 2048 | sudo tee /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
            thrown.Fix, StringComparison.Ordinal);
    }

    [Fact]
    public void Compute_TotalTooMuch_NamesANodeToReserveOn()
    {
        var thrown = Assert.Throws<DataplaneException>(() => MemoryPlan.Compute(Total(9000, (0, 1), (1, 3)), s_two));
        Assert.Contains("node1/hugepages/hugepages-2048kB", thrown.Fix, StringComparison.Ordinal);
    }

    [Fact]
    public void Compute_NodeWithoutMemory_IsAConfigError() =>
        Assert.Throws<ConfigException>(() => MemoryPlan.Compute(PerNode(0, 0, 64), s_two));

    [Fact]
    public void Compute_NoHugepagesInTheKernel_SuggestsNoHuge() =>
        Assert.Contains("--no-huge", Assert.Throws<DataplaneException>(() => MemoryPlan.Compute(Total(1), [])).Fix,
            StringComparison.Ordinal);

    [Fact]
    public void ReadAll_FakeSysfs_ReadsNodesAndTakesPromisedPagesOff()
    {
        using var sys = new FakeSys();
        sys.Node(0, (2048, 8, 5), (1048576, 1, 1));
        sys.Node(1, (2048, 4, 4));
        sys.Write("kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "6");
        Assert.Equal([new(0, G1, 1, 1), new(0, M2, 8, 3), new(1, M2, 4, 0)], HugepagePool.ReadAll(sys.Root));
    }

    [Fact]
    public void Create_AmountGivenAndTooFew_IsAnErrorNotOrdinaryPages()
    {
        using var sys = new FakeSys();
        sys.Node(0, (2048, 3, 3));
        MemoryConfig config = Total(64) with { Sys = sys.Root };
        var thrown = Assert.Throws<DataplaneException>(() => Memory.Create(config, new PageSource("plan")));
        Assert.Contains("need 32, have 3 free of 3", thrown.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Create_NothingGivenAndNoneFree_WarnsOnceAndRunsOnOrdinaryPages()
    {
        using var sys = new FakeSys();
        sys.Node(0, (2048, 3, 0));
        var log = new ListLogger();
        using Memory memory = Memory.Create(new MemoryConfig { Sys = sys.Root }, new PageSource("plan"), log);
        Assert.Empty(memory.Memsegs);
        memory.ReserveMemzone("a", 100);
        memory.ReserveMemzone("b", 20 << 20);
        Assert.All(memory.Memsegs, memseg => Assert.Equal((nuint)Environment.SystemPageSize, memseg.PageSizeBytes));
        Assert.StartsWith("no free hugepages: ordinary pages serve", Assert.Single(log.Messages),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Create_PhysicalAndNoneFree_IsAnError()
    {
        using var sys = new FakeSys();
        sys.Node(0, (2048, 0, 0));
        var config = new MemoryConfig { Sys = sys.Root, PhysicalAddresses = true };
        Assert.Throws<DataplaneException>(() => Memory.Create(config, new PageSource("plan")));
        Assert.Throws<ConfigException>(() => MemoryConfig.From(new() { NoHuge = true, IovaMode = IovaMode.Pa }));
    }

    [Fact]
    public void Malloc_TwoNodes_EachServesItsOwn()
    {
        using var sys = new FakeSys();
        sys.Node(0, (2048, 0, 0));
        sys.Node(1, (2048, 0, 0));
        using Memory memory = Memory.Create(new MemoryConfig { Sys = sys.Root }, new PageSource("plan"),
            new ListLogger());
        Assert.Equal([0, 1], memory.NumaNodes);
        Assert.Equal(1, memory.ReserveMemzone("one", 100, 1).NumaNode);
        Assert.Equal(0, memory.ReserveMemzone("zero", 100, 0).NumaNode);
        Assert.Equal([1u, 1u], memory.GetHeapStats().Select(stats => (uint)stats.BusyCount));
        memory.Validate();
    }
}
