namespace Dataplane.Pmd;

/// <summary>Where the parts of a virtqueue lie in one piece of memory. VIRTIO 1.2 §2.7, §2.8.</summary>
/// <param name="Packed">One ring for both directions; else split.</param>
/// <param name="Size">Descriptors, a power of two up to 32,768.</param>
/// <param name="IndirectParts">Descriptors in each buffer's indirect table, 0 for none.</param>
internal readonly record struct VirtqueueLayout(bool Packed, int Size, int IndirectParts)
{
    private const nuint Line = 128;   // adjacent-line prefetch: what two sides write is that far apart
    private const nuint DescriptorBytes = 16;

    /// <summary>The driver's part: available ring, or what events it wants.</summary>
    internal nuint DriverOffset => Round((nuint)Size * DescriptorBytes);

    /// <summary>The device's part: used ring, or what events it wants.</summary>
    internal nuint DeviceOffset => DriverOffset + Round(Packed ? 4 : 6 + 2 * (nuint)Size);

    /// <summary>The indirect tables, by id.</summary>
    internal nuint IndirectOffset => DeviceOffset + Round(Packed ? 4 : 6 + 8 * (nuint)Size);

    /// <summary>Bytes from one table to the next.</summary>
    internal nuint IndirectStride => (nuint)IndirectParts * DescriptorBytes;

    /// <summary>All of it.</summary>
    internal nuint Bytes => IndirectOffset + (nuint)Size * IndirectStride;

    private static nuint Round(nuint bytes) => (bytes + Line - 1) & ~(Line - 1);
}

/// <summary>Sets of feature bits.</summary>
internal static class VirtioFeatures
{
    internal static bool Has(ulong features, int bit) => (features >> bit & 1) != 0;

    internal static ulong Of(params ReadOnlySpan<int> bits)
    {
        ulong features = 0;
        foreach (int bit in bits)
            features |= 1ul << bit;
        return features;
    }
}
