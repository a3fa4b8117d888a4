using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Packets of several segments, with offloads, or for buffers of several parts; one into several buffers,
/// where they may be merged.</summary>
internal sealed unsafe partial class VhostTxQueue
{
    private const int ScratchBytes = 80 * 1024, MaxFrame = 65_535 + 64;

    private readonly byte* _scratch;   // a packet in one piece
    private Segmenter _segmenter;
    private bool _guestChecksum, _guestTso, _guestEcn;

    /// <summary>Copies one packet into buffers.</summary>
    /// <returns>How many buffers; 0 where the packet was bad, which is counted; -1 where there are too few.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private int PutOdd(VhostRing ring, VhostSlot* slots, int available, MbufHeader* mbuf, ref ulong bytes)
    {
        MbufFlags requests = mbuf->OlFlags & VnetOffload.Requests;
        if (mbuf->PktLen is < IfPacket.ETH_HLEN or > MaxFrame || (requests & ~VnetOffload.Possible) != 0)
            return Refuse();
        var writer = new SlotWriter(ring, slots, available, _merge, _headerBytes);
        if (requests != 0)
            return PutRequest(ref writer, mbuf, ref bytes);
        virtio_net_hdr nothing = default;
        if (!writer.TryBegin(&nothing))
            return Outcome(ref writer);
        for (MbufHeader* part = mbuf; part != null; part = part->Next)
            if (!writer.TryWrite(part->BufAddr + part->DataOff, part->DataLen))
                return Outcome(ref writer);
        bytes += mbuf->PktLen;
        return writer.End();
    }

    /// <summary>The same for a packet that asks for something: in one piece first, so that it can be changed.</summary>
    private int PutRequest(ref SlotWriter writer, MbufHeader* mbuf, ref ulong bytes)
    {
        uint tag = (mbuf->OlFlags & MbufFlags.TxVlan) != 0 ? (uint)IfPacket.VLAN_HLEN : 0;
        uint length = mbuf->PktLen + tag;
        virtio_net_hdr vnet = default;
        PacketVector.GatherTagged(mbuf, _scratch, length);
        if ((mbuf->OlFlags & VnetOffload.Requests & ~MbufFlags.TxVlan) != 0
            && !VnetOffload.TryRequest(&vnet, _scratch, (int)length, (int)length, mbuf, (int)tag))
            return Refuse();
        byte cut = (byte)(vnet.gso_type & ~VirtioNet.VIRTIO_NET_HDR_GSO_ECN);
        if (cut != VirtioNet.VIRTIO_NET_HDR_GSO_NONE
            && !(_guestTso && _guestChecksum && cut != VirtioNet.VIRTIO_NET_HDR_GSO_UDP_L4))
            return PutPieces(ref writer, &vnet, length, mbuf, ref bytes);
        if (!_guestEcn)
            vnet.gso_type = cut;
        if ((vnet.flags & VirtioNet.VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 && !_guestChecksum)
        {
            if (!VnetOffload.TryComplete(&vnet, _scratch, (int)length))
                return Refuse();
            vnet = default;
        }
        if (!writer.TryBegin(&vnet) || !writer.TryWrite(_scratch, length))
            return Outcome(ref writer);
        bytes += mbuf->PktLen;
        return writer.End();
    }

    /// <summary>The driver takes no superframes: it gets the frames one stands for, all of them or none.</summary>
    private int PutPieces(ref SlotWriter writer, virtio_net_hdr* vnet, uint length, MbufHeader* mbuf, ref ulong bytes)
    {
        if (!_segmenter.TryBegin(vnet, _scratch, (int)length))
            return Refuse();
        virtio_net_hdr nothing = default;
        while (_segmenter.IsActive)
        {
            byte* piece = _segmenter.Make(out int pieceBytes);
            if (!writer.TryBegin(&nothing) || !writer.TryWrite(piece, (uint)pieceBytes))
            {
                _segmenter.Reset();
                return Outcome(ref writer);
            }
            writer.End();
            _segmenter.Advance();
        }
        bytes += mbuf->PktLen;
        return writer.Used;
    }

    /// <summary>One packet with all the buffers a fetch can have.</summary>
    /// <returns>1 where it is done with, 0 where it waits.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private int PutLarge(VhostRing ring, Mbuf packet, ref ulong bytes)
    {
        int fetched = ring.Fetch(VhostRing.Batch);
        int count = fetched == 0 ? -1 : PutOdd(ring, ring.Slots, fetched, packet.Header, ref bytes);
        if (count < 0 && fetched == VhostRing.Batch && ring.Fault == VhostFault.None)
            count = Refuse();   // it will never fit
        if (count > 0)
        {
            ring.Commit(count);
            ring.Notify();
        }
        return count < 0 ? 0 : 1;
    }

    private int Refuse()
    {
        Stats->Errors++;
        return 0;
    }

    private int Outcome(ref SlotWriter writer) => writer.IsTooSmall ? Refuse() : -1;
}

/// <summary>Writes packets into buffers: one each, or as many as a packet takes where they may be merged. Nothing is
/// given back before the buffers are committed.</summary>
internal unsafe struct SlotWriter(VhostRing ring, VhostSlot* slots, int available, bool merge, uint headerBytes)
{
    private PartReader _parts;
    private byte* _header;
    private int _first;
    private ulong _left;

    /// <summary>Buffers used.</summary>
    internal int Used { get; private set; }

    /// <summary>The last packet did not fit into its buffer, and waiting for more does not help.</summary>
    internal bool IsTooSmall { get; private set; }

    /// <summary>Begins a packet with its header.</summary>
    internal bool TryBegin(virtio_net_hdr* vnet)
    {
        _first = Used;
        _left = 0;
        if (!TryOpen())
            return false;
        if (ring.Parts[0].Length < headerBytes)
        {
            IsTooSmall = true;
            return false;
        }
        _header = ring.Parts[0].Pointer;
        byte* header = stackalloc byte[12];
        *(virtio_net_hdr*)header = *vnet;
        *(ushort*)(header + 10) = 0;
        return TryWrite(header, headerBytes);
    }

    /// <summary>Writes on.</summary>
    internal bool TryWrite(byte* from, uint length)
    {
        while (length != 0)
        {
            if (_left == 0 && !TryOpen())
                return false;
            uint part = (uint)Math.Min(length, _left);
            _parts.Write(from, part);
            slots[Used - 1].Written += part;
            _left -= part;
            from += part;
            length -= part;
        }
        return true;
    }

    /// <summary>The packet is whole.</summary>
    /// <returns>Buffers used so far.</returns>
    internal int End()
    {
        if (headerBytes > 10)
            *(ushort*)(_header + 10) = (ushort)(Used - _first);
        return Used;
    }

    private bool TryOpen()
    {
        if (!merge && Used > _first)
        {
            IsTooSmall = true;
            return false;
        }
        if (Used == available)
            return false;
        VhostSlot* slot = slots + Used;
        int count = 1;
        if (slot->Host != null)
            ring.Parts[0] = new VhostPart((nint)slot->Host, slot->Length);
        else if ((count = ring.Gather(slot)) == 0)
            return false;
        for (int i = 0; i < count; i++)
            _left += ring.Parts[i].Length;
        slot->Written = 0;
        _parts = new PartReader(ring.Parts);
        Used++;
        return true;
    }
}
