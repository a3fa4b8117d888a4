using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Packets whose headers are read: merged from several buffers, unfinished, hashed, tagged. VIRTIO 1.2
/// §5.1.6.4.</summary>
internal sealed unsafe partial class VirtioRxQueue
{
    private MbufHeader* _head, _tail;   // a packet the device has not given all buffers of
    private uint _missing;              // how many

    /// <summary>Makes packets of buffers, in their place in the span.</summary>
    private int Assemble(Span<Mbuf> buffers)
    {
        int packets = 0;
        for (int i = 0; i < buffers.Length; i++)
        {
            MbufHeader* buffer = buffers[i].Header;
            uint length = _lengths[i];
            if (length > _bufferBytes)
            {
                _queue!.Break(VirtqueueFault.Overrun);
                DropPartial();
                Stats->Errors += (uint)(buffers.Length - i);
                Mbuf.FreeBulk(buffers[i..]);
                break;
            }
            if (_missing == 0 ? !TryBegin(buffer, length) : !TryContinue(buffer, length))
                continue;
            if (_missing != 0)
                continue;
            MbufHeader* packet = _head;
            _head = _tail = null;
            if (TryFinish(packet))
            {
                Stats->Bytes += packet->PktLen;
                buffers[packets++] = new Mbuf(packet);
                continue;
            }
            Stats->Errors++;
            new Mbuf(packet).Free();
        }
        return packets;
    }

    private bool TryBegin(MbufHeader* buffer, uint length)
    {
        uint frame = length - _headerBytes;
        uint merged = _merge ? HeaderOf(buffer)->num_buffers : 1u;
        if (length < _headerBytes + IfPacket.ETH_HLEN || merged == 0 || merged > (uint)_queue!.Size)
        {
            if (merged > (uint)_queue!.Size)
                _queue.Break(VirtqueueFault.MergedTooMany);
            Stats->Errors++;
            new Mbuf(buffer).Free();
            return false;
        }
        Reset(buffer, _dataOffset, frame);
        _head = _tail = buffer;
        _missing = merged - 1;
        return true;
    }

    private bool TryContinue(MbufHeader* buffer, uint length)
    {
        // Buffers behind the first have no header: their data starts where the first's header does.
        Reset(buffer, _dataOffset - _headerBytes, length);
        _tail->Next = buffer;
        _tail = buffer;
        _head->PktLen += length;
        _head->NbSegs++;
        _missing--;
        return true;
    }

    private void DropPartial()
    {
        Stats->Errors += _head == null ? 0u : 1u;
        ForgetPartial();
    }

    private void ForgetPartial()
    {
        if (_head != null)
            new Mbuf(_head).Free();
        _head = _tail = null;
        _missing = 0;
    }

    private void Reset(MbufHeader* mbuf, uint dataOffset, uint length)
    {
        ulong* header = &mbuf->RearmData;
        header[0] = (_rearm & ~0xfffful) | dataOffset;
        header[1] = 0;
        header[2] = (ulong)length << 32;
        header[3] = length;
    }

    private virtio_net_hdr_v1_hash* HeaderOf(MbufHeader* mbuf) =>
        (virtio_net_hdr_v1_hash*)(mbuf->BufAddr + (_dataOffset - _headerBytes));

    private bool TryFinish(MbufHeader* packet)
    {
        virtio_net_hdr_v1_hash* header = HeaderOf(packet);
        if (_hash && header->hash_report != VirtioNet.VIRTIO_NET_HASH_REPORT_NONE)
        {
            packet->RssHash = header->hash_value;
            packet->OlFlags |= MbufFlags.RxRssHash;
        }
        if (_checksum && *(ushort*)header != 0 && !VnetOffload.TryReceive(header->hdr, packet, _whole))
            return false;
        if (_strip)
            VlanTag.Strip(packet);
        return true;
    }
}
