using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane;

public readonly unsafe partial struct Mbuf
{
    // One owner, one segment (so Next is null, and the header's second line stays untouched): RefCnt and NbSegs as one
    // word, and the byte of OlFlags with External and Indirect.
    private const uint OneAndOne = 0x0001_0001;
    private const int AttachedByte = 31, Attached = 0x60;
    private const int RunLength = 64;

    /// <summary>
    /// Gives up the packet: every segment that nobody else refers to goes back to its pool. The caller no longer owns
    /// it.
    /// </summary>
    public void Free()
    {
        if (IsSimple(Header))
            Put(Header);
        else
            FreeChain(Header);
    }

    /// <summary>
    /// Frees each packet of the span; null handles are passed over. The caller no longer owns any of them.
    /// </summary>
    /// <remarks>Neighbours of one pool that are whole packets go back in one copy.</remarks>
    public static void FreeBulk(ReadOnlySpan<Mbuf> packets)
    {
        ref Mbuf first = ref MemoryMarshal.GetReference(packets);
        nint at = 0, end = packets.Length;
        while (at < end)
        {
            MbufHeader* m = Unsafe.Add(ref first, at).Header;
            if (m == null || !IsSimple(m))
            {
                if (m != null)
                    FreeChain(m);
                at++;
                continue;
            }
            var pool = (MempoolHeader*)m->Pool;
            nint start = at++;
            for (; at < end; at++)
            {
                m = Unsafe.Add(ref first, at).Header;
                if (m == null || m->Pool != pool || !IsSimple(m))
                    break;
            }
            MempoolCore.Put(pool, MempoolHeader.CurrentCache(pool),
                ref Unsafe.As<Mbuf, nint>(ref Unsafe.Add(ref first, start)), (uint)(at - start));
        }
    }

    /// <summary>
    /// Frees every packet of the span, none of them null, and counts their bytes on the way: for a driver that is done
    /// with a packet when it has seen its length.
    /// </summary>
    /// <remarks>One look at each header and no branch: whole packets of one pool go back in one copy.</remarks>
    /// <returns>The sum of the packets' lengths.</returns>
    public static ulong FreeBulkCounted(ReadOnlySpan<Mbuf> packets)
    {
        if (packets.IsEmpty)
            return 0;
        void* pool = packets[0].Header->Pool;
        ulong bytes = 0, odd = 0;
        foreach (Mbuf packet in packets)
        {
            MbufHeader* m = packet.Header;
            bytes += m->PktLen;
            odd |= (*(uint*)&m->RefCnt ^ OneAndOne) | (((byte*)m)[AttachedByte] & (uint)Attached)
                | ((nuint)m->Pool ^ (nuint)pool);
        }
        if (odd != 0)
            FreeBulk(packets);
        else
            MempoolCore.Put((MempoolHeader*)pool, MempoolHeader.CurrentCache((MempoolHeader*)pool),
                ref Unsafe.As<Mbuf, nint>(ref MemoryMarshal.GetReference(packets)), (uint)packets.Length);
        return bytes;
    }

    /// <summary>Gives up this one segment; it must be in no chain, or the caller has unlinked it.</summary>
    public void FreeSegment()
    {
        MbufHeader* free = Release(Header);
        if (free != null)
            Put(free);
    }

    /// <summary>How many owners this segment has.</summary>
    public int ReferenceCount => Volatile.Read(ref Header->RefCnt);

    /// <summary>Adds to the owners of this segment; safe against other threads that do the same.</summary>
    /// <returns>The new count.</returns>
    public int AddReferences(int owners) => AddReferences(ref Header->RefCnt, owners);

    /// <summary>Adds to the owners of every segment of the packet: each of them then frees it once.</summary>
    public void AddPacketReferences(int owners)
    {
        for (MbufHeader* m = Header; m != null; m = m->Next)
            AddReferences(ref m->RefCnt, owners);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsSimple(MbufHeader* m) =>
        *(uint*)&m->RefCnt == OneAndOne && (((byte*)m)[AttachedByte] & Attached) == 0;

    private static void Put(MbufHeader* m)
    {
        var pool = (MempoolHeader*)m->Pool;
        nint element = (nint)m;
        MempoolCore.Put(pool, MempoolHeader.CurrentCache(pool), ref element, 1);
    }

    /// <summary>Frees a packet of any form, neighbouring segments of one pool in one go.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    [SkipLocalsInit]
    private static void FreeChain(MbufHeader* m)
    {
        nint* run = stackalloc nint[RunLength];
        uint length = 0;
        void* pool = null;
        while (m != null)
        {
            MbufHeader* next = m->Next;
            MbufHeader* free = Release(m);
            m = next;
            if (free == null)
                continue;
            if (length == RunLength || (length != 0 && free->Pool != pool))
            {
                PutRun((MempoolHeader*)pool, run, length);
                length = 0;
            }
            pool = free->Pool;
            run[length++] = (nint)free;
        }
        if (length != 0)
            PutRun((MempoolHeader*)pool, run, length);
    }

    private static void PutRun(MempoolHeader* pool, nint* run, uint length) =>
        MempoolCore.Put(pool, MempoolHeader.CurrentCache(pool), ref *run, length);

    /// <summary>
    /// Gives up one owner of a segment. The last one makes it as its pool wants it: own buffer, one owner, no next.
    /// </summary>
    /// <returns>The segment if it is to go back to its pool, or null.</returns>
    private static MbufHeader* Release(MbufHeader* m)
    {
        if (MbufDebug.Enabled)
            MbufDebug.OnUse(m);
        if (Volatile.Read(ref m->RefCnt) != 1 && AddReferences(ref m->RefCnt, -1) != 0)
            return null;
        if ((m->OlFlags & (MbufFlags.Indirect | MbufFlags.External)) != 0)
            new Mbuf(m).Detach();
        m->RefCnt = 1;
        m->NbSegs = 1;
        m->Next = null;
        return m;
    }

    /// <remarks>With one owner nobody else can change the count, so no interlocked operation is needed.</remarks>
    internal static ushort AddReferences(ref ushort count, int owners)
    {
        return Volatile.Read(ref count) == 1 ? count = (ushort)(1 + owners) : AddReferencesShared(ref count, owners);
    }

    /// <summary>The same where a count of 1 does not mean that no other thread changes it.</summary>
    private static ushort AddReferencesShared(ref ushort count, int owners)
    {
        ushort seen = Volatile.Read(ref count);
        while (true)
        {
            var next = (ushort)(seen + owners);
            ushort now = Interlocked.CompareExchange(ref count, next, seen);
            if (now == seen)
                return next;
            seen = now;
        }
    }
}
