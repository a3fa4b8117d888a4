namespace Dataplane;

/// <summary>What devices address memory by (<c>--iova-mode</c>).</summary>
public enum IovaMode
{
    /// <summary>Each device's container decides (architecture, memory).</summary>
    Auto,

    /// <summary>Physical addresses.</summary>
    Pa,

    /// <summary>Virtual addresses, through an IOMMU.</summary>
    Va,
}
