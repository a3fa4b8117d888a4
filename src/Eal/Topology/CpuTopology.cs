using System.Globalization;

namespace Dataplane;

/// <summary>
/// The machine's CPUs, cores and memory nodes when it was read. Immutable; any thread; control path only.
/// </summary>
/// <remarks>Source: Documentation/ABI/stable/sysfs-devices-system-cpu and -node of the Linux kernel.</remarks>
public sealed class CpuTopology
{
    private readonly Dictionary<int, CpuInfo> _byId = [];

    private CpuTopology(string sysRoot)
    {
        string cpuDir = Path.Combine(sysRoot, "devices/system/cpu");
        Online = ReadSet(Path.Combine(cpuDir, "online")) ?? throw new DeviceException(
            $"cannot read the CPUs of this machine: no {cpuDir}/online", fix: "mount sysfs: mount -t sysfs sysfs /sys");
        Present = ReadSet(Path.Combine(cpuDir, "present")) ?? Online;
        Isolated = ReadSet(Path.Combine(cpuDir, "isolated")) ?? CpuSet.Empty;
        Dictionary<int, int> nodeOfCpu = ReadNodes(Path.Combine(sysRoot, "devices/system/node"));
        foreach (int cpu in Online)
            _byId.Add(cpu, ReadCpu(cpu, Path.Combine(cpuDir, $"cpu{cpu}/topology"), nodeOfCpu.GetValueOrDefault(cpu)));
        NumaNodes = [.. _byId.Values.Select(cpu => cpu.NumaNode).Concat(nodeOfCpu.Values).Distinct().Order()];
    }

    /// <summary>CPUs that can run threads.</summary>
    public CpuSet Online { get; }

    /// <summary>CPUs that are plugged in, online or not.</summary>
    public CpuSet Present { get; }

    /// <summary>CPUs kept free of other work.</summary>
    public CpuSet Isolated { get; }

    /// <summary>The online CPUs by number.</summary>
    public IEnumerable<CpuInfo> Cpus => Online.Select(cpu => _byId[cpu]);

    /// <summary>Memory nodes that have CPUs, ascending; [0] on a machine without NUMA.</summary>
    public IReadOnlyList<int> NumaNodes { get; }

    /// <summary>Reads it from sysfs.</summary>
    /// <param name="sysRoot">Where sysfs is mounted; tests give a directory of their own.</param>
    /// <exception cref="DataplaneException">No list of CPUs there, or one that is malformed.</exception>
    public static CpuTopology Read(string sysRoot = "/sys") => new(sysRoot);

    /// <summary>The CPU of that number.</summary>
    /// <exception cref="ConfigException">
    /// It is not there or offline; the message says which, and what is online.
    /// </exception>
    public CpuInfo GetCpu(int id)
    {
        if (_byId.TryGetValue(id, out CpuInfo? cpu))
            return cpu;
        throw Present.Contains(id)
            ? new ConfigException($"CPU {id} is offline", $"online are {Online}",
                $"echo 1 | sudo tee /sys/devices/system/cpu/cpu{id}/online")
            : new ConfigException($"CPU {id} is not present", $"this machine has {Present}",
                "choose among the CPUs online");
    }

    private static CpuSet? ReadSet(string path) => File.Exists(path) ? CpuSet.Parse(File.ReadAllText(path)) : null;

    private static Dictionary<int, int> ReadNodes(string nodeDir)
    {
        var nodeOfCpu = new Dictionary<int, int>();
        if (!Directory.Exists(nodeDir))
            return nodeOfCpu;
        foreach (string dir in Directory.GetDirectories(nodeDir, "node*"))
            if (int.TryParse(Path.GetFileName(dir).AsSpan(4), NumberStyles.None, CultureInfo.InvariantCulture,
                out int node))
                foreach (int cpu in ReadSet(Path.Combine(dir, "cpulist")) ?? CpuSet.Empty)
                    nodeOfCpu[cpu] = node;
        return nodeOfCpu;
    }

    private CpuInfo ReadCpu(int cpu, string dir, int node) => new(cpu,
        ReadNumber(Path.Combine(dir, "core_id")), ReadNumber(Path.Combine(dir, "physical_package_id")), node,
        ReadSet(Path.Combine(dir, "thread_siblings_list")) ?? CpuSet.Of(cpu), Isolated.Contains(cpu));

    // Some virtual and arm64 machines say -1, or have no such file: one package, one core.
    private static int ReadNumber(string path) =>
        File.Exists(path) && int.TryParse(File.ReadAllText(path), CultureInfo.InvariantCulture, out int n)
            ? Math.Max(n, 0) : 0;
}
