using Dataplane.Native;

namespace Dataplane;

/// <summary>Which NUMA nodes hold memory, and which one a thread is on.</summary>
internal static class MemoryNodes
{
    /// <summary>Nodes with memory, ascending; node 0 alone on a kernel without NUMA.</summary>
    internal static int[] WithMemory(string sys = "/sys")
    {
        foreach (string file in (ReadOnlySpan<string>)["has_memory", "online"])
        {
            string path = $"{sys}/devices/system/node/{file}";
            if (File.Exists(path) && CpuSet.Parse(File.ReadAllText(path)) is { Count: > 0 } nodes)
                return nodes.ToArray();
        }
        return [0];
    }

    /// <summary>The node of the CPU this thread is on at the moment; 0 where unknown.</summary>
    internal static int OfCallingThread(int[] nodes)
    {
        if (nodes.Length == 1)
            return nodes[0];
        int cpu = Sched.sched_getcpu();
        foreach (int node in nodes)
            if (Directory.Exists($"/sys/devices/system/node/node{node}/cpu{cpu}"))
                return node;
        return nodes[0];
    }
}
