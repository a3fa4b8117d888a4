namespace Dataplane.Tests;

public sealed class TopologyTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("dp-sysfs-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    // Two packages of two cores of two threads; CPU 7 offline, CPUs 2,3 isolated.
    private CpuTopology ReadFake()
    {
        Write("devices/system/cpu/online", "0-6");
        Write("devices/system/cpu/present", "0-7");
        Write("devices/system/cpu/isolated", "2-3");
        for (int cpu = 0; cpu < 7; cpu++)
        {
            Write($"devices/system/cpu/cpu{cpu}/topology/core_id", $"{cpu % 2}");
            Write($"devices/system/cpu/cpu{cpu}/topology/physical_package_id", $"{cpu % 4 / 2}");
            Write($"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", $"{cpu % 4},{cpu % 4 + 4}");
        }
        Write("devices/system/node/node0/cpulist", "0-1,4-5");
        Write("devices/system/node/node1/cpulist", "2-3,6-7");
        return CpuTopology.Read(_root);
    }

    private void Write(string path, string text)
    {
        string full = Path.Combine(_root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, text + "\n");
    }

    [Fact]
    public void Topology_TwoPackages_IsReadFromSysfs()
    {
        CpuTopology topology = ReadFake();
        Assert.Equal([0, 1], topology.NumaNodes);
        Assert.Equal(7, topology.Cpus.Count());
        Assert.Equal(new CpuInfo(6, 0, 1, 1, CpuSet.Of(2, 6), false), topology.GetCpu(6));
        Assert.True(topology.GetCpu(2).IsIsolated);
    }

    [Fact]
    public void Topology_NoNodeDirectory_IsOneNode()
    {
        Write("devices/system/cpu/online", "0-1");
        CpuTopology topology = CpuTopology.Read(_root);
        Assert.Equal([0], topology.NumaNodes);
        Assert.Equal(new CpuInfo(1, 0, 0, 0, CpuSet.Of(1), false), topology.GetCpu(1));
    }

    [Fact]
    public void Topology_OfflineOrAbsentCpu_SaysWhich()
    {
        CpuTopology topology = ReadFake();
        ConfigException offline = Assert.Throws<ConfigException>(() => topology.GetCpu(7));
        Assert.Contains("CPU 7 is offline", offline.Message);
        Assert.Contains("cpu7/online", offline.Fix);
        Assert.Contains("not present", Assert.Throws<ConfigException>(() => topology.GetCpu(8)).Message);
    }

    [Fact]
    public void Topology_NoSysfs_SaysHowToMountIt() =>
        Assert.Contains("mount", Assert.Throws<DeviceException>(() => CpuTopology.Read(_root + "/nothing")).Fix);

    [Fact]
    public void Topology_ThisMachine_HasTheCpuThisRunsOn() =>
        Assert.Contains(CpuTopology.Read().Cpus, cpu => Affinity.Get().Contains(cpu.Id));

    private static LcoreAssignment On(int id, params int[] cpus) => new(id, CpuSet.Of(cpus));

    [Fact]
    public void LcorePlan_MainAndServices_GetTheirRoles()
    {
        LcorePlan plan = LcorePlan.Make([On(5, 1), On(1, 0), On(9, 2, 3)], null, [1], ReadFake());
        Assert.Equal([(1, LcoreRole.Service), (5, LcoreRole.Main), (9, LcoreRole.Worker)],
            plan.Lcores.Select(l => (l.Lcore.Id, l.Role)));
    }

    [Theory]
    [InlineData(0, "lcore 0 is listed twice")]
    [InlineData(1, "CPU 7 is offline")]
    [InlineData(2, "lcore 128")]
    [InlineData(3, "service lcore 4 is not among")]
    [InlineData(4, "main lcore 4 is not among")]
    [InlineData(5, "both main and service")]
    [InlineData(6, "no lcore for the main role")]
    [InlineData(7, "has no CPU")]
    public void LcorePlan_Misuse_IsNamed(int misuse, string expected)
    {
        CpuTopology topology = ReadFake();
        Action make = misuse switch
        {
            0 => () => LcorePlan.Make([On(0, 0), On(0, 1)], null, [], topology),
            1 => () => LcorePlan.Make([On(0, 7)], null, [], topology),
            2 => () => LcorePlan.Make([On(128, 0)], null, [], topology),
            3 => () => LcorePlan.Make([On(0, 0)], null, [4], topology),
            4 => () => LcorePlan.Make([On(0, 0)], 4, [], topology),
            5 => () => LcorePlan.Make([On(0, 0), On(1, 1)], 0, [0], topology),
            6 => () => LcorePlan.Make([On(0, 0)], null, [0], topology),
            _ => () => LcorePlan.Make([On(0)], null, [], topology),
        };
        Assert.Contains(expected, Assert.Throws<ConfigException>(make).Message);
    }
}
