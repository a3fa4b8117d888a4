namespace Dataplane;

/// <summary>A pool of equal objects in native memory. Get and put from any thread; create and dispose on the control path.</summary>
public sealed unsafe class Mempool : IDisposable
{
    private readonly Memory _memory;
    private readonly Memzone _zone;
    private readonly MempoolHeader* _header;

    private Mempool(Memory memory, Memzone zone, string name, int count, int numaNode)
    {
        _memory = memory;
        _zone = zone;
        _header = (MempoolHeader*)zone.Address;
        Name = name;
        Count = count;
        NumaNode = numaNode;
    }

    /// <summary>Its name, unique in its EAL.</summary>
    public string Name { get; }

    /// <summary>Objects it was made with.</summary>
    public int Count { get; }

    /// <summary>The node its memory is on.</summary>
    public int NumaNode { get; }

    /// <summary>The native header that mbufs point at.</summary>
    internal MempoolHeader* Header => _header;

    /// <summary>Bytes of buffer in each mbuf, headroom included; 0 when this is no mbuf pool.</summary>
    public int DataRoomBytes => _header->DataRoomBytes;

    /// <summary>Objects in the pool and its caches now; exact only while nobody gets or puts.</summary>
    public int AvailableCount => _header->Available;

    /// <summary>Objects out of the pool now; exact only while nobody gets or puts.</summary>
    public int InUseCount => Count - AvailableCount;

    /// <summary>Makes a pool of mbufs.</summary>
    /// <param name="memory">Where to take memory from.</param>
    /// <param name="name">1 to 25 characters, unique.</param>
    /// <param name="count">Mbufs, at least 1.</param>
    /// <param name="cacheSize">Mbufs kept per lcore, 0 to 512.</param>
    /// <param name="privateBytes">Application bytes in each mbuf, a multiple of 8.</param>
    /// <param name="dataRoomBytes">Buffer bytes in each mbuf, headroom included, up to 65,535.</param>
    /// <param name="numaNode">A node id or <see cref="Memory.AnyNode"/>.</param>
    /// <exception cref="DataplaneException">The name is taken, or there is too little memory.</exception>
    public static Mempool CreateMbufPool(Memory memory, string name, int count, int cacheSize = 256,
        int privateBytes = 0, int dataRoomBytes = Mbuf.DefaultBufferSize, int numaNode = Memory.AnyNode)
    {
        nuint stride = ((nuint)(sizeof(MbufHeader) + privateBytes + dataRoomBytes) + 63) & ~(nuint)63;
        if (((stride / 64) & 1) == 0)
            stride += 64;
        nuint slots = (nuint)sizeof(MempoolHeader);
        nuint objects = (slots + (nuint)count * 8 + 63) & ~(nuint)63;
        Memzone zone = memory.ReserveMemzone("MP_" + name, objects + stride * (nuint)count, numaNode);
        var header = (MempoolHeader*)zone.Address;
        header->DataRoomBytes = dataRoomBytes;
        header->Slots = (MbufHeader**)((byte*)zone.Address + slots);
        for (int i = 0; i < count; i++)
        {
            var mbuf = (MbufHeader*)((byte*)zone.Address + objects + stride * (nuint)i);
            mbuf->BufAddr = (byte*)(mbuf + 1) + privateBytes;
            mbuf->BufIova = memory.ToIova(mbuf->BufAddr).Value;
            mbuf->BufLen = (ushort)dataRoomBytes;
            mbuf->PrivSize = (ushort)privateBytes;
            mbuf->Pool = header;
            mbuf->NbSegs = 1;
            mbuf->RefCnt = 1;
            MempoolHeader.Put(mbuf);
        }
        return new Mempool(memory, zone, name, count, zone.NumaNode);
    }

    /// <summary>Takes one mbuf, reset: empty, default headroom, one segment. The caller owns it.</summary>
    /// <returns>False when the pool is empty.</returns>
    public bool TryAlloc(out Mbuf mbuf)
    {
        mbuf = default;
        return TryAllocBulk(new Span<Mbuf>(ref mbuf));
    }

    /// <summary>Takes as many mbufs as the span holds, or none (bulk). Each is reset. The caller owns them.</summary>
    /// <returns>False when the pool has too few; the span is then left alone.</returns>
    public bool TryAllocBulk(Span<Mbuf> mbufs)
    {
        lock (this)
        {
            if (_header->Available < mbufs.Length)
                return false;
            for (int i = 0; i < mbufs.Length; i++)
            {
                MbufHeader* m = _header->Slots[--_header->Available];
                m->DataOff = Mbuf.DefaultHeadroom;
                m->RefCnt = 1;
                m->NbSegs = 1;
                m->Port = ushort.MaxValue;
                m->OlFlags = 0;
                m->PacketType = 0;
                m->PktLen = 0;
                m->DataLen = 0;
                m->Next = null;
                mbufs[i] = new Mbuf(m);
            }
            return true;
        }
    }

    /// <summary>Gives the memory back. Objects still out become invalid.</summary>
    public void Dispose() => _memory.FreeMemzone(_zone);
}

/// <summary>A pool as its objects see it: native, at the start of the pool's memzone.</summary>
internal unsafe struct MempoolHeader
{
    internal int Available;
    internal int DataRoomBytes;
    internal MbufHeader** Slots;

    internal static void Put(MbufHeader* mbuf)
    {
        var pool = (MempoolHeader*)mbuf->Pool;
        pool->Slots[pool->Available++] = mbuf;
    }
}
