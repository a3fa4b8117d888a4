using Dataplane.Native;

namespace Dataplane;

/// <summary>CPU masks of threads. Control path only.</summary>
internal static unsafe class Affinity
{
    private const int Words = CpuSet.MaxCpus / 64;

    /// <summary>The mask of a thread (0 = the calling one), already cut to what its cgroup's cpuset allows.</summary>
    /// <exception cref="NativeException">ESRCH: no such thread.</exception>
    internal static CpuSet Get(int tid = 0)
    {
        ulong* words = stackalloc ulong[Words];
        new Span<ulong>(words, Words).Clear();
        if (Sched.sched_getaffinity(tid, Words * sizeof(ulong), words) < 0)
            throw NativeException.FromErrno($"sched_getaffinity of thread {tid}");
        return CpuSet.FromWords(new(words, Words));
    }

    /// <summary>Sets the mask of any thread of this process.</summary>
    /// <returns>False when it ended meanwhile, or the kernel does not let it.</returns>
    internal static bool TrySet(int tid, CpuSet cpus)
    {
        ulong* words = stackalloc ulong[Words];
        var mask = new Span<ulong>(words, Words);
        mask.Clear();
        cpus.Words.CopyTo(mask);
        return Sched.sched_setaffinity(tid, Words * sizeof(ulong), words) == 0;
    }

    /// <summary>Sets the calling thread's mask and checks that all of it took effect.</summary>
    /// <exception cref="DataplaneException">
    /// A CPU in it is not there, offline, or outside the cgroup's cpuset.
    /// </exception>
    internal static void SetCurrent(CpuSet cpus)
    {
        ulong* words = stackalloc ulong[Words];
        var mask = new Span<ulong>(words, Words);
        mask.Clear();
        cpus.Words.CopyTo(mask);
        if (Sched.sched_setaffinity(0, Words * sizeof(ulong), words) < 0)
            throw NativeException.FromErrno($"sched_setaffinity to CPUs {cpus}",
                "a CPU in it is offline, or outside the cpuset of this process's cgroup",
                "see Cpus_allowed_list in /proc/self/status");
        CpuSet actual = Get();
        if (!actual.Equals(cpus))
            throw new DataplaneException($"cannot pin a thread to CPUs {cpus}",
                $"the kernel allows only {actual} of them",
                "widen the cgroup's cpuset.cpus, or choose among those", errno: Errno.EINVAL);
    }
}
