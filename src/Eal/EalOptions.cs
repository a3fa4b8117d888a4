namespace Dataplane;

/// <summary>How to start an <see cref="Eal"/>. Every property has the default the command line has.</summary>
public sealed record EalOptions
{
    /// <summary>Virtual devices to create, as in <c>--vdev</c>: driver name and number, then <c>,key=value</c> pairs.</summary>
    public IReadOnlyList<string> Vdevs { get; init; } = [];
}
