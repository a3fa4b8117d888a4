using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// An 8-byte handle on a packet buffer in native memory. It owns nothing by itself: exactly one party owns the mbuf
/// behind it (the pool, the application, a queue), and every call that takes or gives mbufs says how ownership moves.
/// </summary>
public readonly unsafe struct Mbuf : IEquatable<Mbuf>
{
    /// <summary>Bytes kept free before the data of a new mbuf, for headers to be prepended.</summary>
    public const int DefaultHeadroom = 128;

    /// <summary>Bytes of data plus headroom of a pool made with defaults.</summary>
    public const int DefaultBufferSize = 2048 + DefaultHeadroom;

    /// <summary>Makes a handle from a header's address.</summary>
    public Mbuf(MbufHeader* header) => Header = header;

    /// <summary>The native header; null for the default handle. Valid while the caller owns the mbuf.</summary>
    public readonly MbufHeader* Header;

    /// <summary>True for the default handle.</summary>
    public bool IsNull => Header == null;

    /// <summary>First data byte of this segment.</summary>
    public byte* DataPointer
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Header->BufAddr + Header->DataOff;
    }

    /// <summary>The data of this segment, <see cref="DataLength"/> bytes.</summary>
    public Span<byte> Data
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(Header->BufAddr + Header->DataOff, Header->DataLen);
    }

    /// <summary>Bytes in this segment.</summary>
    public int DataLength => Header->DataLen;

    /// <summary>Bytes in the whole packet.</summary>
    public int PacketLength => (int)Header->PktLen;

    /// <summary>Bytes free before the data of this segment.</summary>
    public int Headroom => Header->DataOff;

    /// <summary>Bytes free after the data of this segment.</summary>
    public int Tailroom => Header->BufLen - Header->DataOff - Header->DataLen;

    /// <summary>The next segment, or the null handle.</summary>
    public Mbuf Next => new(Header->Next);

    /// <summary>Adds bytes at the end of the packet's last segment and to its length.</summary>
    /// <returns>Where they are, or null when the segment's tailroom is too small (nothing is changed).</returns>
    public byte* Append(int bytes)
    {
        MbufHeader* last = Header;
        while (last->Next != null)
            last = last->Next;
        if ((uint)bytes > (uint)new Mbuf(last).Tailroom)
            return null;
        byte* tail = last->BufAddr + last->DataOff + last->DataLen;
        last->DataLen += (ushort)bytes;
        Header->PktLen += (uint)bytes;
        return tail;
    }

    /// <summary>Gives every segment of the packet back to its pool. The caller no longer owns it.</summary>
    public void Free()
    {
        MbufHeader* segment = Header;
        while (segment != null)
        {
            MbufHeader* next = segment->Next;
            segment->Next = null;
            segment->NbSegs = 1;
            MempoolHeader.Put(segment);
            segment = next;
        }
    }

    /// <summary>Frees each packet of the span; null handles are passed over. The caller no longer owns any of them.</summary>
    public static void FreeBulk(ReadOnlySpan<Mbuf> packets)
    {
        foreach (Mbuf packet in packets)
            if (!packet.IsNull)
                packet.Free();
    }

    /// <inheritdoc/>
    public bool Equals(Mbuf other) => Header == other.Header;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Mbuf other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => ((nint)Header).GetHashCode();

    /// <summary>Same mbuf.</summary>
    public static bool operator ==(Mbuf left, Mbuf right) => left.Header == right.Header;

    /// <summary>Another mbuf.</summary>
    public static bool operator !=(Mbuf left, Mbuf right) => left.Header != right.Header;
}
