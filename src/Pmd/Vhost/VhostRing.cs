using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>What a driver did that none may do.</summary>
internal enum VhostFault
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>Made more buffers available than the ring holds.</summary>
    AvailIndex,
    /// <summary>Named a descriptor outside the ring or its table.</summary>
    BadIndex,
    /// <summary>A buffer lies outside the memory it shares.</summary>
    BadAddress,
    /// <summary>A chain that does not end, or has too many parts.</summary>
    BadChain,
    /// <summary>An indirect table of a bad size, in another, or not agreed on.</summary>
    BadTable,
    /// <summary>A buffer to be read where one is to be written, or the other way round.</summary>
    BadDirection,
}

/// <summary>A buffer of the driver's that is ours until the next <see cref="VhostRing.Commit"/>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal unsafe struct VhostSlot
{
    /// <summary>Its first byte, null where it has several parts: <see cref="VhostRing.Gather"/>.</summary>
    [FieldOffset(0)] internal byte* Host;

    /// <summary>Bytes there.</summary>
    [FieldOffset(8)] internal uint Length;

    /// <summary>Bytes we wrote, for <see cref="VhostRing.Commit"/>.</summary>
    [FieldOffset(12)] internal uint Written;

    /// <summary>What the driver knows it by.</summary>
    [FieldOffset(16)] internal ushort Id;

    /// <summary>Descriptors of the ring it takes.</summary>
    [FieldOffset(18)] internal ushort Count;

    /// <summary>Packed: where its first is.</summary>
    [FieldOffset(20)] internal ushort At;
}

/// <summary>A part of a buffer.</summary>
/// <param name="Host">Its first byte.</param>
/// <param name="Length">Bytes.</param>
internal readonly unsafe record struct VhostPart(nint Host, uint Length)
{
    /// <summary>Its first byte.</summary>
    internal byte* Pointer => (byte*)Host;
}

/// <summary>What a ring is made of: agreed on, mapped and checked.</summary>
internal unsafe readonly struct VhostRingSetup
{
    internal required VhostMemory Memory { get; init; }
    internal required ulong Features { get; init; }
    internal required int Size { get; init; }
    internal required byte* Table { get; init; }
    internal required byte* Driver { get; init; }
    internal required byte* Device { get; init; }

    /// <summary>In-flight memory of the ring, or null.</summary>
    internal byte* Inflight { get; init; }

    /// <summary>Where to go on, as SET_VRING_BASE has it.</summary>
    internal required uint Base { get; init; }

    /// <summary>Buffers are for us to write; else to read.</summary>
    internal required bool Writable { get; init; }

    /// <summary>To tell the driver, or -1.</summary>
    internal required int Call { get; init; }
}

/// <summary>
/// The device's side of a virtqueue in a peer's memory. Buffers are fetched, read or written, and committed: all within
/// one burst, in order. Data path unless said otherwise; one thread. VIRTIO 1.2 §2.7, §2.8.
/// </summary>
/// <remarks>
/// <para>The driver is not trusted: it may change anything in shared memory at any time. Each descriptor is read once
/// into memory of our own and checked there; no length or address is used that is read again. A driver that breaks the
/// rules has the ring marked with a <see cref="Fault"/>; nothing moves in it any more.</para>
/// <para>U0 an acquire takes what the driver made available; U1 a release gives it back; U2 a full fence between giving
/// back and reading whether the driver wants to be told, and between asking to be told and a last look. See
/// docs/ordering.md.</para>
/// </remarks>
internal abstract unsafe class VhostRing : IDisposable
{
    /// <summary>Most buffers of one fetch.</summary>
    internal const int Batch = 64;

    /// <summary>Most parts of a buffer.</summary>
    internal const int MaxParts = 256;

    private protected readonly bool EventIndex, Indirect;
    private protected readonly uint Mask;
    private protected readonly ushort Direction;    // VRING_DESC_F_WRITE where buffers are for us to write
    private protected VhostWindow Window;           // where the last address was found
    private readonly VhostWindow* _windows;
    private readonly int _windowCount;
    private readonly int _call;

    private protected VhostRing(in VhostRingSetup setup)
    {
        Size = setup.Size;
        Mask = (uint)setup.Size - 1;
        Direction = setup.Writable ? VirtioRing.VRING_DESC_F_WRITE : (ushort)0;
        EventIndex = VirtioFeatures.Has(setup.Features, VirtioRing.VIRTIO_RING_F_EVENT_IDX);
        Indirect = VirtioFeatures.Has(setup.Features, VirtioRing.VIRTIO_RING_F_INDIRECT_DESC);
        _call = setup.Call;
        _windowCount = setup.Memory.Windows.Length;
        _windows = (VhostWindow*)NativeMemory.Alloc((nuint)_windowCount, (nuint)sizeof(VhostWindow));
        setup.Memory.Windows.CopyTo(new Span<VhostWindow>(_windows, _windowCount));
        Window = _windows[0];
        Slots = (VhostSlot*)NativeMemory.AllocZeroed(Batch, (nuint)sizeof(VhostSlot));
        _ = Unistd.write(-1, null, 0);   // the first call takes managed memory: not on the lcore
        Parts = (VhostPart*)NativeMemory.AllocZeroed(MaxParts, (nuint)sizeof(VhostPart));
    }

    /// <summary>Descriptors.</summary>
    internal int Size { get; }

    /// <summary>What the last <see cref="Fetch"/> got.</summary>
    internal VhostSlot* Slots { get; }

    /// <summary>What the last <see cref="Gather"/> got.</summary>
    internal VhostPart* Parts { get; }

    /// <summary>What the driver did wrong; the ring moves nothing once it is not None.</summary>
    internal VhostFault Fault { get; private set; }

    /// <summary>Where a ring made of the same memory would go on: for GET_VRING_BASE. Control path.</summary>
    internal abstract uint Base { get; }

    /// <summary>A split or packed ring, as the features say. Control path.</summary>
    internal static VhostRing Create(in VhostRingSetup setup) =>
        VirtioFeatures.Has(setup.Features, VirtioConfig.VIRTIO_F_RING_PACKED) ? new PackedVhostRing(setup)
        : new SplitVhostRing(setup);

    /// <summary>Looks at buffers the driver made available, from the first not committed.</summary>
    /// <param name="most">1 to <see cref="Batch"/>.</param>
    /// <returns>How many are in <see cref="Slots"/>.</returns>
    internal abstract int Fetch(int most);

    /// <summary>Lists the parts of a buffer of several.</summary>
    /// <returns>How many; 0 where the ring is broken now.</returns>
    internal abstract int Gather(VhostSlot* slot);

    /// <summary>Gives the first buffers fetched back, with what was written into each.</summary>
    internal abstract void Commit(int count);

    /// <summary>After <see cref="Commit"/>: the driver asks to be told.</summary>
    private protected abstract bool ShouldCall();

    /// <summary>Buffers available, up to a number; for inspection.</summary>
    internal abstract int CountAvailable(int most);

    /// <summary>Asks the driver to tell of the next buffer, or not to.</summary>
    internal abstract void AskForKick(bool on);

    /// <summary>Tells the driver of what was committed, where it asked for that.</summary>
    internal void Notify()
    {
        if (ShouldCall() && _call >= 0)
            Call();
    }

    /// <summary>Tells the driver.</summary>
    internal void Call()
    {
        ulong one = 1;
        if (_call >= 0)
            _ = Unistd.write(_call, &one, sizeof(ulong));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(_windows);
        NativeMemory.Free(Slots);
        NativeMemory.Free(Parts);
    }

    /// <summary>Marks the ring broken.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal void Break(VhostFault fault)
    {
        if (Fault == VhostFault.None)
            Fault = fault;
    }

    /// <summary>Where an address of the driver's lies, null where not all of it is shared.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private protected byte* At(ulong guest, uint length)
    {
        byte* host = Window.At(guest, length);
        return host != null ? host : AtOther(guest, length);
    }

    /// <summary>Adds a part of a buffer.</summary>
    private protected bool TryAddPart(ref int count, ulong guest, uint length, uint flags)
    {
        byte* host = null;
        VhostFault fault = (flags & VirtioRing.VRING_DESC_F_WRITE) != Direction ? VhostFault.BadDirection
            : count == MaxParts ? VhostFault.BadChain
            : (host = At(guest, length)) == null ? VhostFault.BadAddress : VhostFault.None;
        if (fault != VhostFault.None)
        {
            Break(fault);
            return false;
        }
        Parts[count++] = new VhostPart((nint)host, length);
        return true;
    }

    /// <summary>Checks and finds an indirect table. VIRTIO 1.2 §2.7.5.3, §2.8.8.</summary>
    private protected byte* FindTable(ulong guest, uint bytes, uint flags, out uint entries)
    {
        entries = bytes / (uint)sizeof(vring_desc);
        byte* table = null;
        if (!Indirect || (flags & VirtioRing.VRING_DESC_F_NEXT) != 0 || bytes % (uint)sizeof(vring_desc) != 0
            || entries is 0 or > VirtioMaxTable)
            Break(VhostFault.BadTable);
        else if ((table = At(guest, bytes)) == null)
            Break(VhostFault.BadAddress);
        return table;
    }

    private const uint VirtioMaxTable = 32768;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private byte* AtOther(ulong guest, uint length)
    {
        for (int i = 0; i < _windowCount; i++)
        {
            byte* host = _windows[i].At(guest, length);
            if (host == null)
                continue;
            Window = _windows[i];
            return host;
        }
        return null;
    }
}
