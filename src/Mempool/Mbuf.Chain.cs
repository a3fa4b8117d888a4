namespace Dataplane;

public readonly unsafe partial struct Mbuf
{
    /// <summary>Adds bytes at the end of the packet's last segment and to its length.</summary>
    /// <returns>Where they are, or null when the segment's tailroom is too small (nothing is changed).</returns>
    public byte* Append(int bytes)
    {
        Mbuf last = LastSegment;
        if ((uint)bytes > (uint)last.Tailroom)
            return null;
        byte* tail = last.DataPointer + last.Header->DataLen;
        last.Header->DataLen += (ushort)bytes;
        Header->PktLen += (uint)bytes;
        return tail;
    }

    /// <summary>The same as a span.</summary>
    /// <returns>False when the tailroom is too small; nothing is changed then.</returns>
    public bool TryAppend(int bytes, out Span<byte> added)
    {
        byte* at = Append(bytes);
        added = at == null ? default : new(at, bytes);
        return at != null;
    }

    /// <summary>Adds bytes before the data of the packet's first segment and to its length.</summary>
    /// <returns>Where they are, or null when the headroom is too small (nothing is changed).</returns>
    public byte* Prepend(int bytes)
    {
        // 65,535: a segment's length would not hold more.
        if ((uint)bytes > Header->DataOff || Header->DataLen + bytes > ushort.MaxValue)
            return null;
        Header->DataOff -= (ushort)bytes;
        Header->DataLen += (ushort)bytes;
        Header->PktLen += (uint)bytes;
        return DataPointer;
    }

    /// <summary>The same as a span.</summary>
    /// <returns>False when the headroom is too small; nothing is changed then.</returns>
    public bool TryPrepend(int bytes, out Span<byte> added)
    {
        byte* at = Prepend(bytes);
        added = at == null ? default : new(at, bytes);
        return at != null;
    }

    /// <summary>Takes bytes off the start of the packet's first segment.</summary>
    /// <returns>False when the segment has fewer; nothing is changed then.</returns>
    public bool Adj(int bytes)
    {
        if ((uint)bytes > Header->DataLen)
            return false;
        Header->DataLen -= (ushort)bytes;
        Header->DataOff += (ushort)bytes;
        Header->PktLen -= (uint)bytes;
        return true;
    }

    /// <summary>Takes bytes off the end of the packet's last segment.</summary>
    /// <returns>False when the segment has fewer; nothing is changed then.</returns>
    public bool Trim(int bytes)
    {
        MbufHeader* last = LastSegment.Header;
        if ((uint)bytes > last->DataLen)
            return false;
        last->DataLen -= (ushort)bytes;
        Header->PktLen -= (uint)bytes;
        return true;
    }

    /// <summary>Appends a packet to this one, which then owns its segments; the tail's metadata is lost.</summary>
    /// <returns>False when there would be more than <see cref="MaxSegments"/>; the caller then still owns
    /// both.</returns>
    public bool TryChain(Mbuf tail)
    {
        if (Header->NbSegs + tail.Header->NbSegs > MaxSegments)
            return false;
        LastSegment.Header->Next = tail.Header;
        Header->NbSegs += tail.Header->NbSegs;
        Header->PktLen += tail.Header->PktLen;
        tail.Header->NbSegs = 1;
        tail.Header->PktLen = tail.Header->DataLen;
        return true;
    }

    /// <summary>Moves all data into the first segment and frees the others.</summary>
    /// <returns>False when its tailroom is too small; nothing is changed then.</returns>
    public bool TryLinearize()
    {
        if (Header->NbSegs == 1)
            return true;
        uint more = Header->PktLen - Header->DataLen;
        if (more > (uint)Tailroom)
            return false;
        byte* to = DataPointer + Header->DataLen;
        for (MbufHeader* m = Header->Next; m != null; m = m->Next)
        {
            new Mbuf(m).Data.CopyTo(new Span<byte>(to, m->DataLen));
            to += m->DataLen;
        }
        FreeChain(Header->Next);
        Header->Next = null;
        Header->NbSegs = 1;
        Header->DataLen = (ushort)Header->PktLen;
        return true;
    }

    /// <summary>Reads bytes of the packet, over segments.</summary>
    /// <param name="offset">From the packet's first byte.</param>
    /// <param name="bytes">How many.</param>
    /// <param name="buffer">Used when they are not in one segment: <paramref name="bytes"/> long or more.</param>
    /// <returns>Where they are, in the packet or in <paramref name="buffer"/>; null when the packet is too
    /// short.</returns>
    public byte* Read(int offset, int bytes, byte* buffer)
    {
        if (!IsWithin(offset, bytes))
            return null;
        MbufHeader* m = Seek(ref offset);
        if (offset + bytes <= m->DataLen)
            return new Mbuf(m).DataPointer + offset;
        CopyOut(m, offset, new Span<byte>(buffer, bytes));
        return buffer;
    }

    /// <summary>The same as a span: of the packet where the bytes are in one segment, else of the buffer.</summary>
    /// <param name="offset">From the packet's first byte.</param>
    /// <param name="bytes">How many; the buffer holds as many or more.</param>
    /// <param name="buffer">Used when they are not in one segment.</param>
    /// <param name="data">The bytes.</param>
    /// <returns>False when the packet, or the buffer where it is wanted, is too short.</returns>
    public bool TryRead(int offset, int bytes, Span<byte> buffer, out ReadOnlySpan<byte> data)
    {
        data = default;
        if (!IsWithin(offset, bytes))
            return false;
        MbufHeader* m = Seek(ref offset);
        if (offset + bytes <= m->DataLen)
        {
            data = new Mbuf(m).Data.Slice(offset, bytes);
            return true;
        }
        if (bytes > buffer.Length)
            return false;
        CopyOut(m, offset, buffer[..bytes]);
        data = buffer[..bytes];
        return true;
    }

    /// <summary>A packet with a copy of some of this one's bytes and of its metadata. The caller owns it.</summary>
    /// <param name="pool">Where its mbufs come from; it takes as many segments as its buffers need.</param>
    /// <param name="offset">From the packet's first byte.</param>
    /// <param name="bytes">How many, cut to what there is.</param>
    /// <param name="copy">The packet, or the null handle.</param>
    /// <returns>False when the offset is beyond the packet or the pool has too few mbufs.</returns>
    public bool TryCopy(Mempool pool, int offset, int bytes, out Mbuf copy)
    {
        copy = default;
        if ((uint)offset > Header->PktLen || bytes < 0 || !pool.TryAlloc(out copy))
            return false;
        CopyMetadata(Header, copy.Header);
        copy.Header->OlFlags = Header->OlFlags & ~(MbufFlags.External | MbufFlags.Indirect);
        int left = (int)Math.Min((uint)bytes, Header->PktLen - (uint)offset);
        Mbuf last = copy;
        MbufHeader* from = Seek(ref offset);
        while (left > 0)
        {
            int take = Math.Min(left, last.Tailroom);
            if (take == 0)
            {
                if (copy.Header->NbSegs == MaxSegments || pool.DataRoomBytes == 0 || !pool.TryAlloc(out Mbuf next))
                {
                    copy.Free();
                    copy = default;
                    return false;
                }
                next.Header->DataOff = 0;
                last.Header->Next = next.Header;
                copy.Header->NbSegs++;
                last = next;
                continue;
            }
            from = CopyOut(from, offset, new Span<byte>(last.DataPointer + last.Header->DataLen, take), out offset);
            last.Header->DataLen += (ushort)take;
            copy.Header->PktLen += (uint)take;
            left -= take;
        }
        return true;
    }

    /// <summary>Copies all bytes of the packet.</summary>
    /// <returns>Bytes copied: the packet's length, or the span's if that is shorter.</returns>
    public int CopyTo(Span<byte> destination)
    {
        int bytes = Math.Min(destination.Length, PacketLength);
        CopyOut(Header, 0, destination[..bytes]);
        return bytes;
    }

    private bool IsWithin(int offset, int bytes) =>
        offset >= 0 && bytes >= 0 && (ulong)offset + (ulong)bytes <= Header->PktLen;

    /// <summary>The segment a byte of the packet is in; the offset becomes one within the segment.</summary>
    private MbufHeader* Seek(ref int offset)
    {
        MbufHeader* m = Header;
        while (offset >= m->DataLen && m->Next != null)
        {
            offset -= m->DataLen;
            m = m->Next;
        }
        return m;
    }

    private static void CopyOut(MbufHeader* m, int offset, Span<byte> to) => CopyOut(m, offset, to, out _);

    /// <summary>Fills the span from a place in a chain on.</summary>
    /// <returns>The segment it ended in, and the offset in that.</returns>
    private static MbufHeader* CopyOut(MbufHeader* m, int offset, Span<byte> to, out int end)
    {
        while (!to.IsEmpty)
        {
            int take = Math.Min(to.Length, m->DataLen - offset);
            new Mbuf(m).Data.Slice(offset, take).CopyTo(to);
            to = to[take..];
            offset += take;
            if (!to.IsEmpty)
            {
                m = m->Next;
                offset = 0;
            }
        }
        end = offset;
        return m;
    }
}
