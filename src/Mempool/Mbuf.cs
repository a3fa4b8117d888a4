using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Dataplane;

/// <summary>
/// An 8-byte handle on a packet buffer in native memory. It owns nothing by itself: exactly one party owns the mbuf
/// behind it (the pool, the application, a queue), and every call that takes or gives mbufs says how ownership moves.
/// </summary>
/// <remarks>
/// A packet is a chain of one or more segments; the handle of its first segment stands for it. Everything here is for
/// the owner's thread, allocates nothing and throws nothing unless it says so. Members that return <c>ref</c> can be
/// read and assigned: <c>mbuf.Port = 3</c>.
/// </remarks>
public readonly unsafe partial struct Mbuf : IEquatable<Mbuf>
{
    /// <summary>Bytes kept free before the data of a new mbuf, for headers to be prepended.</summary>
    public const int DefaultHeadroom = 128;

    /// <summary>Bytes of data plus headroom of a pool made with defaults.</summary>
    public const int DefaultBufferSize = 2048 + DefaultHeadroom;

    /// <summary>Most segments in a chain.</summary>
    public const int MaxSegments = ushort.MaxValue;

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
        get
        {
            if (MbufDebug.Enabled)
                MbufDebug.OnUse(Header);
            return Header->BufAddr + Header->DataOff;
        }
    }

    /// <summary>The data of this segment, <see cref="DataLength"/> bytes.</summary>
    public Span<byte> Data
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(DataPointer, Header->DataLen);
    }

    /// <summary>The address a device uses to reach the first data byte.</summary>
    public Iova DataIova => new(Header->BufIova + Header->DataOff);

    /// <summary>Bytes in this segment.</summary>
    public int DataLength => Header->DataLen;

    /// <summary>Bytes in the whole packet.</summary>
    public int PacketLength => (int)Header->PktLen;

    /// <summary>Bytes of this segment's buffer, headroom and tailroom included.</summary>
    public int BufferLength => Header->BufLen;

    /// <summary>Bytes free before the data of this segment.</summary>
    public int Headroom => Header->DataOff;

    /// <summary>Bytes free after the data of this segment.</summary>
    public int Tailroom => Header->BufLen - Header->DataOff - Header->DataLen;

    /// <summary>The next segment, or the null handle.</summary>
    public Mbuf Next => new(Header->Next);

    /// <summary>Segments in the packet.</summary>
    public int SegmentCount => Header->NbSegs;

    /// <summary>True for a packet of one segment.</summary>
    public bool IsContiguous => Header->NbSegs == 1;

    /// <summary>The packet's last segment.</summary>
    public Mbuf LastSegment
    {
        get
        {
            MbufHeader* last = Header;
            while (last->Next != null)
                last = last->Next;
            return new(last);
        }
    }

    /// <summary>Id of the port it came in by, <see cref="MbufHeader.NoPort"/> for none.</summary>
    public ref ushort Port => ref Header->Port;

    /// <summary>Offload flags, both ways.</summary>
    public ref MbufFlags Flags => ref Header->OlFlags;

    /// <summary>What the packet is: values of <see cref="Dataplane.PacketType"/>.</summary>
    public ref uint PacketType => ref Header->PacketType;

    /// <summary>VLAN tag control information, host order; see <see cref="MbufFlags.RxVlan"/>.</summary>
    public ref ushort VlanTci => ref Header->VlanTci;

    /// <summary>Outer tag's control information, host order; see <see cref="MbufFlags.RxQinq"/>.</summary>
    public ref ushort VlanTciOuter => ref Header->VlanTciOuter;

    /// <summary>RSS hash; see <see cref="MbufFlags.RxRssHash"/>.</summary>
    public ref uint RssHash => ref Header->RssHash;

    /// <summary>8 bytes for the application where no hash is wanted: the hash and its high part.</summary>
    public ref ulong UserData => ref *(ulong*)((byte*)Header + 44);

    /// <summary>The application's bytes of each mbuf, as many as the pool was made with.</summary>
    /// <remarks>Not <see cref="MbufHeader.PrivSize"/>: an indirect mbuf has its direct one's there.</remarks>
    public Span<byte> PrivateData => new(Header + 1, (int)((MempoolHeader*)Header->Pool)->PrivateBytes);

    /// <summary>Sets the length of a packet of one segment.</summary>
    /// <returns>False, and nothing changed, when the buffer is too small or there are several segments.</returns>
    public bool TrySetLength(int bytes)
    {
        if ((uint)bytes > (uint)(Header->BufLen - Header->DataOff) || Header->NbSegs != 1)
            return false;
        Header->DataLen = (ushort)bytes;
        Header->PktLen = (uint)bytes;
        return true;
    }

    /// <summary>
    /// Makes it as a fresh one from its pool: empty, default headroom. Only for a packet of one segment.
    /// </summary>
    public void Reset()
    {
        var pool = (MempoolHeader*)Header->Pool;
        MbufFlags attached = Header->OlFlags & (MbufFlags.External | MbufFlags.Indirect);
        ushort references = Header->RefCnt, buffer = Header->BufLen;
        Vector256.Store(pool->Fresh, &Header->RearmData);
        *(ulong*)&Header->HashHigh = pool->FreshTail;
        Header->TxOffload = 0;
        Header->OlFlags = attached;
        Header->RefCnt = references;
        Header->BufLen = buffer;
        Header->DataOff = Math.Min(Header->DataOff, buffer);
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

    /// <summary>Writes what never changes while an mbuf is in its pool.</summary>
    internal static void Init(MempoolHeader* pool, nint element)
    {
        var m = (MbufHeader*)element;
        m->Pool = pool;
        m->NbSegs = 1;
        m->RefCnt = 1;
        m->Port = MbufHeader.NoPort;
        RestoreBuffer(m);
    }

    /// <summary>Points it at its own buffer.</summary>
    private static void RestoreBuffer(MbufHeader* m)
    {
        var pool = (MempoolHeader*)m->Pool;
        uint offset = (uint)sizeof(MbufHeader) + pool->PrivateBytes;
        ulong iova = MempoolObjectHeader.Of((nint)m)->Iova;
        m->PrivSize = (ushort)pool->PrivateBytes;
        m->BufAddr = (byte*)m + offset;
        m->BufIova = iova == Iova.Bad.Value ? iova : iova + offset;
        m->BufLen = (ushort)pool->DataRoomBytes;
        m->DataOff = (ushort)Math.Min(DefaultHeadroom, pool->DataRoomBytes);
        m->DataLen = 0;
    }
}
