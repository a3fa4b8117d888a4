using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Packets that take more than one descriptor: of several segments, with offloads, shared, or without
/// headroom.</summary>
internal sealed unsafe partial class VirtioTxQueue
{
    private const int IndirectParts = 16, MaxParts = 64;
    private const uint HeadBytes = 256, SideBytes = 320;   // header, HeadBytes and a tag, up to the next line

    private readonly VirtioPart* _parts;
    private byte* _side;       // for each id: a header and a copy of a packet's first bytes
    private ulong _sideIova;
    private MbufFlags _possible;
    private bool _ecn;

    private enum Outcome
    {
        Sent,
        Full,
        Bad,
    }

    private Outcome SendOdd(Virtqueue queue, MbufHeader* mbuf)
    {
        MbufFlags requests = mbuf->OlFlags & VnetOffload.Requests;
        if ((requests & ~_possible) != 0 || mbuf->PktLen < IfPacket.ETH_HLEN)
            return Outcome.Bad;
        uint tag = (requests & MbufFlags.TxVlan) != 0 ? (uint)IfPacket.VLAN_HLEN : 0;
        uint copied = Math.Min(HeadBytes, mbuf->PktLen), available = copied + tag;
        bool inPlace = tag == 0 && mbuf->RefCnt == 1 && mbuf->DataOff >= _headerBytes && mbuf->DataLen >= copied
            && (mbuf->OlFlags & (MbufFlags.Indirect | MbufFlags.External)) == 0;
        byte* vnet = inPlace ? mbuf->BufAddr + mbuf->DataOff - _headerBytes : _side + queue.NextId * SideBytes;
        byte* frame = vnet + _headerBytes;
        new Span<byte>(vnet, (int)_headerBytes).Clear();
        if (inPlace)
            available = mbuf->DataLen;
        else
            PacketVector.GatherTagged(mbuf, frame, available);
        if ((requests & ~MbufFlags.TxVlan) != 0 && !TryRequest((virtio_net_hdr*)vnet, frame, available, mbuf, tag))
            return Outcome.Bad;
        _parts[0] = inPlace ? new(_addressing.Of(mbuf, mbuf->DataOff - _headerBytes), mbuf->DataLen + _headerBytes)
            : new(_sideIova + queue.NextId * SideBytes, available + _headerBytes);
        int count = List(mbuf, inPlace ? mbuf->DataLen : copied);
        if (count > Math.Min(MaxParts, queue.Size))
            return Outcome.Bad;
        return queue.TryAddChain(new ReadOnlySpan<VirtioPart>(_parts, count), 0, (nint)mbuf) ? Outcome.Sent
            : Outcome.Full;
    }

    private bool TryRequest(virtio_net_hdr* vnet, byte* frame, uint available, MbufHeader* mbuf, uint tag)
    {
        if (!VnetOffload.TryRequest(vnet, frame, (int)available, (int)(mbuf->PktLen + tag), mbuf, (int)tag))
            return false;
        if (!_ecn)
            vnet->gso_type &= unchecked((byte)~VirtioNet.VIRTIO_NET_HDR_GSO_ECN);
        return true;
    }

    /// <summary>Lists what is behind the first bytes.</summary>
    /// <returns>Parts, the first included; more than MaxParts where there are too many.</returns>
    private int List(MbufHeader* mbuf, uint skip)
    {
        int count = 1;
        for (; mbuf != null; mbuf = mbuf->Next)
        {
            uint skipped = Math.Min(skip, mbuf->DataLen);
            skip -= skipped;
            if (skipped == mbuf->DataLen)
                continue;
            if (count == MaxParts)
                return MaxParts + 1;
            _parts[count++] = new(_addressing.Of(mbuf, mbuf->DataOff + skipped), mbuf->DataLen - skipped);
        }
        return count;
    }
}
