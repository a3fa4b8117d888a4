using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Packets of several parts, longer than a mbuf, or with a header that says something.</summary>
internal sealed unsafe partial class VhostRxQueue
{
    private enum Outcome
    {
        Filled,
        Bad,
        Stopped,   // no mbufs, or the ring broke: the buffer stays
    }

    /// <summary>Copies a packet into a mbuf and, where allowed, others behind it.</summary>
    /// <param name="ring">Where it is.</param>
    /// <param name="slot">Its buffer.</param>
    /// <param name="first">Not reset. The caller's again unless it is filled, with what hangs on it by then.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private Outcome TakeOdd(VhostRing ring, VhostSlot* slot, MbufHeader* first)
    {
        int parts = 1;
        if (slot->Host != null)
            ring.Parts[0] = new VhostPart((nint)slot->Host, slot->Length);
        else if ((parts = ring.Gather(slot)) == 0)
            return Outcome.Stopped;
        ulong total = 0;
        for (int i = 0; i < parts; i++)
            total += ring.Parts[i].Length;
        if (total < _headerBytes + IfPacket.ETH_HLEN || total - _headerBytes > (_chain ? MaxFrame : _room))
            return Outcome.Bad;
        // A copy: the driver could change it while it is looked at.
        virtio_net_hdr header;
        var reader = new PartReader(ring.Parts);
        reader.Read((byte*)&header, (uint)sizeof(virtio_net_hdr));
        reader.Skip(_headerBytes - (uint)sizeof(virtio_net_hdr));
        Reset(first, (uint)(total - _headerBytes));
        Outcome outcome = Fill(ref reader, first, (uint)(total - _headerBytes));
        if (outcome != Outcome.Filled)
            return outcome;
        if (_asks && (header.flags != 0 || header.gso_type != 0) && !VnetOffload.TryReceive(header, first, _whole))
            return Outcome.Bad;
        if (_strip)
            VlanTag.Strip(first);
        return Outcome.Filled;
    }

    private const uint MaxFrame = 65_536 + 64;

    private void Reset(MbufHeader* mbuf, uint packetBytes)
    {
        ulong* header = &mbuf->RearmData;
        header[0] = _rearm;
        header[1] = 0;
        header[2] = (ulong)packetBytes << 32;
        header[3] = 0;
    }

    private Outcome Fill(ref PartReader reader, MbufHeader* first, uint length)
    {
        for (MbufHeader* last = first; ;)
        {
            uint part = Math.Min(length, _room);
            reader.Read(last->BufAddr + last->DataOff, part);
            last->DataLen = (ushort)part;
            length -= part;
            if (length == 0)
                return Outcome.Filled;
            Mbuf more = default;
            if (!Pool.TryAllocRawBulk(new Span<Mbuf>(ref more)))
            {
                Stats->NoMbuf++;
                return Outcome.Stopped;
            }
            Reset(more.Header, length);
            last->Next = more.Header;
            last = more.Header;
            first->NbSegs++;
        }
    }
}

/// <summary>Goes through the parts of a buffer. The caller knows how many bytes there are.</summary>
internal unsafe struct PartReader(VhostPart* parts)
{
    private VhostPart* _part = parts;
    private uint _at;

    /// <summary>Copies what comes next.</summary>
    internal void Read(byte* to, uint length)
    {
        while (length != 0)
        {
            byte* from = Next(length, out uint count);
            FastCopy.Copy(to, from, count);
            to += count;
            length -= count;
        }
    }

    /// <summary>Copies over what comes next.</summary>
    internal void Write(byte* from, uint length)
    {
        while (length != 0)
        {
            byte* to = Next(length, out uint count);
            FastCopy.Copy(to, from, count);
            from += count;
            length -= count;
        }
    }

    /// <summary>Leaves bytes out.</summary>
    internal void Skip(uint length)
    {
        while (length != 0)
        {
            Next(length, out uint count);
            length -= count;
        }
    }

    private byte* Next(uint most, out uint count)
    {
        while (_at == _part->Length)
        {
            _part++;
            _at = 0;
        }
        count = Math.Min(most, _part->Length - _at);
        byte* at = _part->Pointer + _at;
        _at += count;
        return at;
    }
}
