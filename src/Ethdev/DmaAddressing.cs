using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>How a queue turns an mbuf's data into the address its device wants. Data path.</summary>
/// <remarks>
/// Behind an IOMMU an IOVA is the pointer plus a constant, so no field is read that the driver does not read anyway.
/// Without one it is <see cref="MbufHeader.BufIova"/>, which holds physical addresses then.
/// </remarks>
public readonly unsafe struct DmaAddressing
{
    private readonly ulong _delta;
    private readonly bool _physical;

    /// <summary>That of a container.</summary>
    public DmaAddressing(DmaContainer container)
    {
        _physical = container.IovaMode == IovaMode.Pa;
        _delta = container.IovaDelta;
    }

    /// <summary>Pointers plus a constant, for devices that no container holds.</summary>
    internal DmaAddressing(ulong delta) => _delta = delta;

    /// <summary>The address of a buffer's byte.</summary>
    /// <param name="header">The mbuf.</param>
    /// <param name="offset">Bytes from <see cref="MbufHeader.BufAddr"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Of(MbufHeader* header, uint offset) =>
        (_physical ? header->BufIova : (ulong)header->BufAddr + _delta) + offset;
}
