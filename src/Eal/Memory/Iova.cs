namespace Dataplane;

/// <summary>
/// An I/O virtual address: what a device puts on the bus to reach memory, in bytes. It means something only in the
/// container the device is attached to (docs/architecture.md), so it is never a bare integer.
/// </summary>
/// <param name="Value">The address in bytes; <see cref="ulong.MaxValue"/> for none.</param>
public readonly record struct Iova(ulong Value)
{
    /// <summary>No address: the memory is not reachable by any device.</summary>
    public static Iova Bad => new(ulong.MaxValue);

    /// <inheritdoc/>
    public override string ToString() => $"0x{Value:x}";
}
