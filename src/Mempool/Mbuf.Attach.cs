using System.Runtime.InteropServices;

namespace Dataplane;

public readonly unsafe partial struct Mbuf
{
    /// <summary>True when the data is in this mbuf's own buffer.</summary>
    public bool IsDirect => (Header->OlFlags & (MbufFlags.Indirect | MbufFlags.External)) == 0;

    /// <summary>True when the data is in another mbuf's buffer.</summary>
    public bool IsIndirect => (Header->OlFlags & MbufFlags.Indirect) != 0;

    /// <summary>True when the data is in a buffer attached with <see cref="AttachExternal"/>.</summary>
    public bool IsExternal => (Header->OlFlags & MbufFlags.External) != 0;

    /// <summary>
    /// Makes this mbuf refer to the data of one segment of another packet, which lives until both are freed. It becomes
    /// a packet of one segment with the other's metadata; its own buffer rests meanwhile.
    /// </summary>
    /// <param name="other">Direct, indirect or external. The caller still owns it.</param>
    /// <remarks>This mbuf must be direct, of one segment, with one owner.</remarks>
    public void Attach(Mbuf other)
    {
        MbufHeader* m = Header, o = other.Header;
        bool external = other.IsExternal;
        ref ushort count = ref external ? ref ((ExternalBuffer*)o->SharedInfo)->References : ref Direct(o)->RefCnt;
        // One indirect mbuf is one reference, but its own owners may be several and attach to it at once.
        _ = Volatile.Read(ref o->RefCnt) == 1 ? AddReferences(ref count, 1) : AddReferencesShared(ref count, 1);
        if (external)
        {
            m->SharedInfo = o->SharedInfo;
            m->OlFlags = o->OlFlags;
        }
        else
        {
            m->PrivSize = o->PrivSize;
            m->OlFlags = o->OlFlags | MbufFlags.Indirect;
        }
        m->BufAddr = o->BufAddr;
        m->BufIova = o->BufIova;
        m->BufLen = o->BufLen;
        m->DataOff = o->DataOff;
        m->DataLen = o->DataLen;
        m->PktLen = o->DataLen;
        m->NbSegs = 1;
        m->Next = null;
        CopyMetadata(o, m);
    }

    /// <summary>
    /// Makes this mbuf refer to memory that is no mbuf's. The packet is empty then, with no headroom.
    /// </summary>
    /// <param name="buffer">First byte; reachable by devices if the packet is sent to one.</param>
    /// <param name="iova">Its address as a device sees it.</param>
    /// <param name="bytes">Its length, up to 65,535.</param>
    /// <param name="shared">Counts the mbufs that refer to it; set up with <see cref="ExternalBuffer.Init"/>, whose
    /// count of 1 is this mbuf's.</param>
    /// <remarks>This mbuf must be direct, of one segment, with one owner.</remarks>
    public void AttachExternal(void* buffer, Iova iova, ushort bytes, ExternalBuffer* shared)
    {
        Header->BufAddr = (byte*)buffer;
        Header->BufIova = iova.Value;
        Header->BufLen = bytes;
        Header->DataOff = 0;
        Header->DataLen = 0;
        Header->PktLen = 0;
        Header->SharedInfo = shared;
        Header->OlFlags |= MbufFlags.External;
    }

    /// <summary>
    /// Undoes <see cref="Attach"/> or <see cref="AttachExternal"/>: gives up the data and returns to the own buffer,
    /// empty. The last to give up a direct mbuf frees it; the last to give up an external buffer calls its callback.
    /// </summary>
    public void Detach()
    {
        MbufHeader* m = Header;
        if (IsExternal)
        {
            ((ExternalBuffer*)m->SharedInfo)->Release(m->BufAddr);
        }
        else if (IsIndirect)
        {
            MbufHeader* direct = Direct(m);
            if (AddReferences(ref direct->RefCnt, -1) == 0)
            {
                direct->RefCnt = 1;
                direct->NbSegs = 1;
                direct->Next = null;
                direct->DataLen = 0;
                Put(direct);
            }
        }
        m->OlFlags = MbufFlags.None;
        m->SharedInfo = null;
        RestoreBuffer(m);
    }

    /// <summary>A packet that shares this one's data: one indirect mbuf per segment. The caller owns it.</summary>
    /// <param name="pool">Where the indirect mbufs come from.</param>
    /// <param name="clone">The packet, or the null handle.</param>
    /// <returns>False when the pool has too few mbufs; nothing is changed then.</returns>
    public bool TryClone(Mempool pool, out Mbuf clone)
    {
        clone = default;
        MbufHeader* last = null;
        for (MbufHeader* m = Header; m != null; m = m->Next)
        {
            if (!pool.TryAlloc(out Mbuf segment))
            {
                if (last != null)
                    clone.Free();
                clone = default;
                return false;
            }
            segment.Attach(new Mbuf(m));
            if (last == null)
                clone = segment;
            else
                last->Next = segment.Header;
            last = segment.Header;
            clone.Header->NbSegs = (ushort)(clone.Header->NbSegs + (last == clone.Header ? 0 : 1));
        }
        clone.Header->PktLen = Header->PktLen;
        return true;
    }

    /// <summary>The mbuf whose buffer a direct or indirect one uses.</summary>
    private static MbufHeader* Direct(MbufHeader* m) => (m->OlFlags & MbufFlags.Indirect) == 0
        ? m : (MbufHeader*)(m->BufAddr - sizeof(MbufHeader) - m->PrivSize);

    /// <summary>Copies what a packet says about itself, not where its bytes are.</summary>
    private static void CopyMetadata(MbufHeader* from, MbufHeader* to)
    {
        to->Port = from->Port;
        to->PacketType = from->PacketType;
        to->VlanTci = from->VlanTci;
        to->VlanTciOuter = from->VlanTciOuter;
        to->RssHash = from->RssHash;
        to->HashHigh = from->HashHigh;
        to->TxOffload = from->TxOffload;
        to->Timesync = from->Timesync;
        for (int i = 0; i < 9; i++)
            to->DynField[i] = from->DynField[i];
    }
}

/// <summary>
/// What all mbufs that refer to one external buffer share. Lives as long as the buffer, often at its end.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
public unsafe struct ExternalBuffer
{
    [FieldOffset(0)] private delegate*<void*, void*, void> _free;
    [FieldOffset(8)] private void* _state;
    [FieldOffset(16)] internal ushort References;

    /// <summary>Sets it up for one mbuf.</summary>
    /// <param name="free">Called with the buffer and <paramref name="state"/> by whichever thread frees the last mbuf.
    /// Data path: it must not throw, block or allocate. Null: nothing is called.</param>
    /// <param name="state">Whatever the callback wants.</param>
    public void Init(delegate*<void*, void*, void> free, void* state)
    {
        _free = free;
        _state = state;
        References = 1;
    }

    /// <summary>Mbufs that refer to the buffer.</summary>
    public int ReferenceCount => Volatile.Read(ref References);

    internal void Release(void* buffer)
    {
        if (Mbuf.AddReferences(ref References, -1) == 0 && _free != null)
            _free(buffer, _state);
    }
}
