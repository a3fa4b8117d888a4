using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Dataplane;

public sealed unsafe partial class Mempool
{
    /// <summary>Bytes of buffer in each mbuf, headroom included; 0 when this is no mbuf pool.</summary>
    public int DataRoomBytes => (int)_header->DataRoomBytes;

    /// <summary>Application bytes in each mbuf; 0 when this is no mbuf pool.</summary>
    public int PrivateBytes => (int)_header->PrivateBytes;

    /// <summary>Takes one mbuf, reset: empty, default headroom, one segment. The caller owns it. Data path.</summary>
    /// <returns>False when the pool is empty.</returns>
    public bool TryAlloc(out Mbuf mbuf)
    {
        mbuf = default;
        return TryAllocBulk(new Span<Mbuf>(ref mbuf));
    }

    /// <summary>
    /// Takes as many mbufs as the span holds, or none (bulk). Each is reset: empty, default headroom, one segment, no
    /// flags, no port. The caller owns them. Data path.
    /// </summary>
    /// <returns>False when the pool has too few; the span then holds no mbuf.</returns>
    public bool TryAllocBulk(Span<Mbuf> mbufs)
    {
        if (!TryAllocRawBulk(mbufs))
            return false;
        Vector256<ulong> fresh = _header->Fresh;
        ulong freshTail = _header->FreshTail;
        for (int i = 0; i < mbufs.Length; i++)
        {
            MbufHeader* m = mbufs[i].Header;
            fresh.Store(&m->RearmData);
            *(ulong*)&m->HashHigh = freshTail;
            m->TxOffload = 0;
        }
        return true;
    }

    /// <summary>
    /// The same, with the reset's 32 bytes given by the caller: a driver that knows port and lengths beforehand fills
    /// them here and touches each mbuf once. The rest of the mbuf is as for <see cref="TryAllocRawBulk"/>.
    /// </summary>
    /// <returns>False when the pool has too few; the span then holds no mbuf.</returns>
    public bool TryAllocBulk(Span<Mbuf> mbufs, in MbufTemplate template)
    {
        if (!TryAllocRawBulk(mbufs))
            return false;
        Vector256<ulong> fresh = Unsafe.As<MbufTemplate, Vector256<ulong>>(ref Unsafe.AsRef(in template));
        for (int i = 0; i < mbufs.Length; i++)
            fresh.Store(&mbufs[i].Header->RearmData);
        return true;
    }

    /// <summary>
    /// Takes mbufs that are not reset, or none (bulk), for a driver that writes their headers itself. All that is sure:
    /// buffer address, IOVA and length are the mbuf's own, the reference count is 1, there is one segment and no next.
    /// The caller owns them. Data path.
    /// </summary>
    /// <returns>False when the pool has too few; the span then holds no mbuf.</returns>
    public bool TryAllocRawBulk(Span<Mbuf> mbufs) => MempoolCore.TryGet(_header, MempoolHeader.CurrentCache(_header),
        ref Unsafe.As<Mbuf, nint>(ref MemoryMarshal.GetReference(mbufs)), (uint)mbufs.Length);

    /// <summary>
    /// Puts mbufs back without a look at them (DPDK's fast free): each is of this pool, direct, one segment, and has
    /// one owner, the caller, who gives it up. Data path.
    /// </summary>
    public void PutRawBulk(ReadOnlySpan<Mbuf> mbufs) => MempoolCore.Put(_header, MempoolHeader.CurrentCache(_header),
        ref Unsafe.As<Mbuf, nint>(ref MemoryMarshal.GetReference(mbufs)), (uint)mbufs.Length);

    /// <summary>Takes one mbuf on the control path.</summary>
    /// <exception cref="DataplaneException">The pool is empty; the message shows who has the mbufs and how many it
    /// takes.</exception>
    public Mbuf Alloc() => TryAlloc(out Mbuf mbuf) ? mbuf : throw Exhausted(1);
}

/// <summary>
/// Bytes 16 to 47 of a fresh mbuf's header, by which <see cref="Mempool.TryAllocBulk(Span{Mbuf}, in MbufTemplate)"/>
/// resets it.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
public struct MbufTemplate
{
    /// <summary>A packet of one segment.</summary>
    /// <param name="dataOffset">Bytes of headroom.</param>
    /// <param name="port">Id of the port it came in by.</param>
    /// <param name="length">Bytes of data.</param>
    public MbufTemplate(ushort dataOffset, ushort port, ushort length)
    {
        DataOff = dataOffset;
        RefCnt = 1;
        NbSegs = 1;
        Port = port;
        PktLen = length;
        DataLen = length;
    }

    /// <summary>See <see cref="MbufHeader.DataOff"/>.</summary>
    [FieldOffset(0)] public ushort DataOff;

    [FieldOffset(2)] internal ushort RefCnt;
    [FieldOffset(4)] internal ushort NbSegs;

    /// <summary>See <see cref="MbufHeader.Port"/>.</summary>
    [FieldOffset(6)] public ushort Port;

    /// <summary>See <see cref="MbufHeader.OlFlags"/>.</summary>
    [FieldOffset(8)] public MbufFlags OlFlags;

    /// <summary>See <see cref="MbufHeader.PacketType"/>.</summary>
    [FieldOffset(16)] public uint PacketType;

    /// <summary>See <see cref="MbufHeader.PktLen"/>.</summary>
    [FieldOffset(20)] public uint PktLen;

    /// <summary>See <see cref="MbufHeader.DataLen"/>.</summary>
    [FieldOffset(24)] public ushort DataLen;

    /// <summary>See <see cref="MbufHeader.VlanTci"/>.</summary>
    [FieldOffset(26)] public ushort VlanTci;

    /// <summary>See <see cref="MbufHeader.RssHash"/>.</summary>
    [FieldOffset(28)] public uint RssHash;
}
