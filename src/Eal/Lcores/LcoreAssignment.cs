namespace Dataplane;

/// <summary>One lcore to be started and where it runs, one element of <c>-l</c>.</summary>
/// <param name="Id">0 to <see cref="Lcore.Max"/> - 1.</param>
/// <param name="Cpus">The CPUs its thread may run on, at least one; usually exactly one.</param>
public sealed record LcoreAssignment(int Id, CpuSet Cpus)
{
    /// <summary>As <c>-l</c> writes it: <c>4@2</c>.</summary>
    public override string ToString() => Cpus.Count == 1 ? $"{Id}@{Cpus}" : $"{Id}@({Cpus})";
}
