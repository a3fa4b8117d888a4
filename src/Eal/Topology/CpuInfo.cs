namespace Dataplane;

/// <summary>One CPU that is online, as sysfs describes it.</summary>
/// <param name="Id">The kernel's number.</param>
/// <param name="CoreId">Its core within the package; hardware threads of one core share it.</param>
/// <param name="PackageId">Its processor package.</param>
/// <param name="NumaNode">Its memory node, 0 where the kernel knows of none.</param>
/// <param name="Siblings">The hardware threads of its core, itself included.</param>
/// <param name="IsIsolated">Kept free of other work by <c>isolcpus=</c> or a cpuset partition.</param>
public sealed record CpuInfo(int Id, int CoreId, int PackageId, int NumaNode, CpuSet Siblings, bool IsIsolated);
