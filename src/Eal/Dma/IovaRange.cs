namespace Dataplane;

/// <summary>A range of I/O addresses.</summary>
/// <param name="First">First byte.</param>
/// <param name="Last">Last byte, inclusive.</param>
public readonly record struct IovaRange(ulong First, ulong Last)
{
    /// <summary>Whether all of a stretch lies inside.</summary>
    public bool Contains(ulong start, ulong sizeBytes) =>
        start >= First && sizeBytes != 0 && start <= Last && sizeBytes - 1 <= Last - start;

    /// <inheritdoc/>
    public override string ToString() => $"0x{First:x}-0x{Last:x}";
}
