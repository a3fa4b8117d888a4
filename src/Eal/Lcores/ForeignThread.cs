namespace Dataplane;

/// <summary>A thread of this process that is no lcore, yet may run on an lcore's CPUs.</summary>
/// <param name="Tid">The kernel's thread id.</param>
/// <param name="Name">The kernel's name of it, up to 15 characters.</param>
/// <param name="Cpus">Where it may run.</param>
/// <param name="Shared">Those of them that are lcores'.</param>
public sealed record ForeignThread(int Tid, string Name, CpuSet Cpus, CpuSet Shared);
