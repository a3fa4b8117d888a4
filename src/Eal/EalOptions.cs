namespace Dataplane;

/// <summary>How to start an <see cref="Eal"/>. Every property has the default the command line has.</summary>
public sealed record EalOptions
{
    /// <summary>
    /// Lcores to start, as in <c>-l</c>; null = one on each CPU of the starting thread's mask, with the CPU's number as id.
    /// </summary>
    public IReadOnlyList<LcoreAssignment>? Lcores { get; init; }

    /// <summary>Id of the main lcore, as in <c>--main-lcore</c>; null = the lowest that is no service lcore.</summary>
    public int? MainLcore { get; init; }

    /// <summary>Ids of the lcores that run services, as in <c>-S</c>; each must be among <see cref="Lcores"/>.</summary>
    public IReadOnlyList<int> ServiceLcores { get; init; } = [];

    /// <summary>Virtual devices to create, as in <c>--vdev</c>: driver name and number, then <c>,key=value</c> pairs.</summary>
    public IReadOnlyList<string> Vdevs { get; init; } = [];
}
