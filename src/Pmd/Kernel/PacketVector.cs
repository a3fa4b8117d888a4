using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>
/// Lays a packet out for the kernel as the pieces of one vectored write: offload header and the frame's headers, copied
/// so that they can be changed, then the rest in place in its mbufs. Data path; one thread.
/// </summary>
internal sealed unsafe class PacketVector : IDisposable
{
    private const uint HeadBytes = 256;

    private readonly byte* _head;   // offload header, then the first HeadBytes + 4 of the frame

    internal PacketVector()
    {
        _head = (byte*)NativeMemory.AlignedAlloc(512, 64);
        Parts = (iovec*)NativeMemory.Alloc(Uio.IOV_MAX, (nuint)sizeof(iovec));
    }

    /// <summary>The pieces of the last <see cref="TryBuild"/>.</summary>
    internal iovec* Parts { get; }

    /// <summary>Lays out a packet.</summary>
    /// <param name="mbuf">The packet; it must stay as it is until it is written.</param>
    /// <param name="count">Pieces.</param>
    /// <returns>False where its flags do not fit it, or it has too many segments.</returns>
    internal bool TryBuild(MbufHeader* mbuf, out int count)
    {
        uint tag = (mbuf->OlFlags & MbufFlags.TxVlan) != 0 ? (uint)IfPacket.VLAN_HLEN : 0;
        uint copied = Math.Min(HeadBytes, mbuf->PktLen), head = copied + tag;
        var vnet = (virtio_net_hdr*)_head;
        byte* frame = (byte*)(vnet + 1);
        *vnet = new virtio_net_hdr { hdr_len = (ushort)head };
        GatherTagged(mbuf, frame, head);
        count = 0;
        if ((mbuf->OlFlags & VnetOffload.Requests & ~MbufFlags.TxVlan) != 0
            && !VnetOffload.TryRequest(vnet, frame, (int)head, (int)(mbuf->PktLen + tag), mbuf, (int)tag))
            return false;
        Parts[0] = new iovec { iov_base = _head, iov_len = head + (nuint)sizeof(virtio_net_hdr) };
        count = 1 + ListRest(mbuf, copied);
        return count <= Uio.IOV_MAX;
    }

    /// <summary>Copies the first bytes of a packet.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void Gather(MbufHeader* mbuf, byte* target, uint length)
    {
        uint part = mbuf->DataLen;
        while (part < length && mbuf->Next != null)
        {
            Unsafe.CopyBlockUnaligned(target, mbuf->BufAddr + mbuf->DataOff, part);
            target += part;
            length -= part;
            mbuf = mbuf->Next;
            part = mbuf->DataLen;
        }
        Unsafe.CopyBlockUnaligned(target, mbuf->BufAddr + mbuf->DataOff, Math.Min(part, length));
    }

    /// <summary>Copies bytes from within a packet, and goes on to those behind them.</summary>
    /// <param name="mbuf">The segment to begin in; then the one to go on in.</param>
    /// <param name="skip">Its bytes to pass over; then those of the segment to go on in.</param>
    /// <param name="target">Where to.</param>
    /// <param name="length">As many as the packet has left, or fewer.</param>
    internal static void GatherOn(ref MbufHeader* mbuf, ref uint skip, byte* target, uint length)
    {
        while (length != 0)
        {
            uint part = Math.Min(length, mbuf->DataLen - skip);
            Unsafe.CopyBlockUnaligned(target, mbuf->BufAddr + mbuf->DataOff + skip, part);
            target += part;
            length -= part;
            skip += part;
            if (skip != mbuf->DataLen || mbuf->Next == null)
                continue;
            mbuf = mbuf->Next;
            skip = 0;
        }
    }

    /// <summary>Copies the first bytes of a packet, its VLAN tag put in where TX_VLAN asks for it.</summary>
    /// <param name="mbuf">The packet.</param>
    /// <param name="target">Where to.</param>
    /// <param name="length">Bytes to make, those of the tag too.</param>
    internal static void GatherTagged(MbufHeader* mbuf, byte* target, uint length)
    {
        if ((mbuf->OlFlags & MbufFlags.TxVlan) == 0)
        {
            Gather(mbuf, target, length);
            return;
        }
        Gather(mbuf, target + IfPacket.VLAN_HLEN, length - IfPacket.VLAN_HLEN);
        *(ulong*)target = *(ulong*)(target + 4);
        *(uint*)(target + 8) = *(uint*)(target + 12);
        target[12] = IfPacket.ETH_P_8021Q >> 8;
        target[13] = IfPacket.ETH_P_8021Q & 0xff;
        target[14] = (byte)(mbuf->VlanTci >> 8);
        target[15] = (byte)mbuf->VlanTci;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_head);
        NativeMemory.Free(Parts);
    }

    /// <summary>Lists what is behind the first bytes.</summary>
    /// <returns>Pieces, IOV_MAX when there are too many.</returns>
    private int ListRest(MbufHeader* mbuf, uint skip)
    {
        int count = 0;
        for (; mbuf != null; mbuf = mbuf->Next)
        {
            uint skipped = Math.Min(skip, mbuf->DataLen);
            skip -= skipped;
            if (skipped == mbuf->DataLen)
                continue;
            if (++count == Uio.IOV_MAX)
                break;
            Parts[count] = new iovec
            {
                iov_base = mbuf->BufAddr + mbuf->DataOff + skipped,
                iov_len = mbuf->DataLen - skipped,
            };
        }
        return count;
    }
}
