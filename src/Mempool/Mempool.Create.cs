using System.Globalization;
using System.Runtime.Intrinsics;
using System.Text;

namespace Dataplane;

public sealed unsafe partial class Mempool
{
    private const int MaxZones = 100;
    private const int MaxCount = (1 << 30) - 1;
    private const nuint SmallestChunkBytes = 64 * 1024;
    private const nuint PageBytes = 4096;

    /// <summary>Makes a pool of raw objects. Their memory is zeroed.</summary>
    /// <param name="memory">Where to take memory from.</param>
    /// <param name="name">1 to 25 ASCII characters, unique.</param>
    /// <param name="count">Objects, at least 1.</param>
    /// <param name="elementBytes">Bytes of each, at least 1; they begin on a cache line unless the flags say
    /// otherwise.</param>
    /// <param name="cacheSize">Objects kept per lcore, 0 to 512 and not above the count, or
    /// <see cref="AutoCache"/>.</param>
    /// <param name="numaNode">A node id or <see cref="Memory.AnyNode"/>.</param>
    /// <param name="handler">What is behind the caches, by DPDK's name ("ring_mp_mc"); null: as the flags ask.</param>
    /// <param name="flags">Layout and users.</param>
    /// <exception cref="ConfigException">A value is out of range, or there is no such handler.</exception>
    /// <exception cref="DataplaneException">The name is taken, or there is too little memory.</exception>
    public static Mempool Create(Memory memory, string name, int count, int elementBytes, int cacheSize = AutoCache,
        int numaNode = Memory.AnyNode, string? handler = null, MempoolFlags flags = MempoolFlags.None)
    {
        MempoolHeader* header = CreateEmpty(memory, name, count, elementBytes, cacheSize, numaNode, handler, flags);
        return Fill(memory, header, numaNode);
    }

    /// <summary>Makes a pool of mbufs.</summary>
    /// <param name="memory">Where to take memory from.</param>
    /// <param name="name">1 to 25 ASCII characters, unique.</param>
    /// <param name="count">Mbufs, at least 1; see <see cref="RecommendCount"/>.</param>
    /// <param name="cacheSize">Mbufs kept per lcore, 0 to 512 and not above the count, or
    /// <see cref="AutoCache"/>.</param>
    /// <param name="privateBytes">Application bytes in each mbuf, a multiple of 8.</param>
    /// <param name="dataRoomBytes">Buffer bytes in each mbuf, headroom included, 0 to 65,535.</param>
    /// <param name="numaNode">A node id or <see cref="Memory.AnyNode"/>.</param>
    /// <param name="handler">What is behind the caches, by DPDK's name ("ring_mp_mc"); null: as the flags ask.</param>
    /// <param name="flags">Layout and users.</param>
    /// <exception cref="ConfigException">A value is out of range, or there is no such handler.</exception>
    /// <exception cref="DataplaneException">The name is taken, or there is too little memory.</exception>
    public static Mempool CreateMbufPool(Memory memory, string name, int count, int cacheSize = AutoCache,
        int privateBytes = 0, int dataRoomBytes = Mbuf.DefaultBufferSize, int numaNode = Memory.AnyNode,
        string? handler = null, MempoolFlags flags = MempoolFlags.None)
    {
        if (privateBytes is < 0 or > ushort.MaxValue || privateBytes % 8 != 0)
            throw Invalid(name, $"{privateBytes} private bytes", "they are a multiple of 8 from 0 to 65,528");
        if (dataRoomBytes is < 0 or > ushort.MaxValue)
            throw Invalid(name, $"a data room of {dataRoomBytes} bytes", "it is 0 to 65,535 bytes, headroom included");
        int elementBytes = sizeof(MbufHeader) + privateBytes + dataRoomBytes;
        MempoolHeader* header = CreateEmpty(memory, name, count, elementBytes, cacheSize, numaNode, handler, flags);
        header->PrivateBytes = (uint)privateBytes;
        header->DataRoomBytes = (uint)dataRoomBytes;
        header->IsMbufPool = 1;
        var fresh = new MbufHeader
        {
            DataOff = (ushort)Math.Min(Mbuf.DefaultHeadroom, dataRoomBytes),
            RefCnt = 1,
            NbSegs = 1,
            Port = MbufHeader.NoPort,
            BufLen = (ushort)dataRoomBytes,
        };
        header->Fresh = Vector256.Load((ulong*)&fresh.RearmData);
        header->FreshTail = *(ulong*)&fresh.HashHigh;
        return Fill(memory, header, numaNode);
    }

    /// <summary>
    /// Another handle on the pool of that name, or null. Only one of a pool's handles may be disposed.
    /// </summary>
    public static Mempool? Lookup(Memory memory, string name)
    {
        Memzone? zone = memory.LookupMemzone("MP_" + name);
        return zone != null && Volatile.Read(ref ((MempoolHeader*)zone.Address)->Magic) == MempoolHeader.MagicValue
            ? new Mempool(memory, (MempoolHeader*)zone.Address) : null;
    }

    private static MempoolHeader* CreateEmpty(Memory memory, string name, int count, int elementBytes, int cacheSize,
        int numaNode, string? handler, MempoolFlags flags)
    {
        if (name.Length is 0 or > MempoolHeader.MaxNameLength || !Ascii.IsValid(name))
            throw Invalid(name, "its name", "a name is 1 to 25 ASCII characters");
        if (count is < 1 or > MaxCount)
            throw Invalid(name, $"{count} objects", "a pool has 1 to 2^30 - 1 objects");
        if (elementBytes < 1)
            throw Invalid(name, $"objects of {elementBytes} bytes", "an object has at least 1 byte");
        if (cacheSize == AutoCache)
            cacheSize = Math.Min(256, count / 8);
        if (cacheSize is < 0 or > MaxCacheSize || cacheSize > count)
        {
            throw Invalid(name, $"a cache of {cacheSize} objects",
                $"it is 0 to {MaxCacheSize} and not above the pool's {count} objects");
        }
        MempoolKind kind = MempoolBackend.Parse(handler, flags);
        MempoolTelemetry.Register(memory);
        nuint cacheBytes = MempoolCacheHeader.BytesFor((uint)cacheSize);
        nuint backendAt = MempoolHeader.SizeBytes + (Lcore.Max + 1) * cacheBytes;
        nuint bytes = backendAt + MempoolBackend.BytesFor(kind, count);
        Memzone zone = memory.ReserveMemzone("MP_" + name, bytes, numaNode, 128);
        var header = (MempoolHeader*)zone.Address;
        Encoding.ASCII.GetBytes(name, new Span<byte>(header->Name, MempoolHeader.MaxNameLength));
        header->Backend = (byte*)header + backendAt;
        header->Kind = kind;
        header->Flags = flags;
        header->CacheStride = (uint)cacheBytes;
        header->CacheSize = (uint)cacheSize;
        header->Count = (uint)count;
        header->ElementBytes = (uint)elementBytes;
        header->StrideBytes = LayoutOf(memory, header).StrideBytes;
        header->NumaNode = zone.NumaNode;
        MempoolHeader.CacheOf(header, Lcore.NoId)->Init(0, shared: true);
        for (int lcore = 0; lcore < Lcore.Max; lcore++)
            MempoolHeader.CacheOf(header, lcore)->Init((uint)cacheSize, shared: false);
        MempoolBackend.Init(header->Backend, kind, "MP_" + name, count);
        return header;
    }

    private static Mempool Fill(Memory memory, MempoolHeader* header, int numaNode)
    {
        string name = MempoolHeader.NameOf(header);
        try
        {
            Populate(memory, header, name, numaNode);
        }
        catch
        {
            FreeZones(memory, name);
            throw;
        }
        Volatile.Write(ref header->Magic, MempoolHeader.MagicValue);     // with the read in Lookup
        return new Mempool(memory, header);
    }

    /// <summary>
    /// Takes memory in as few pieces as there are, and puts the objects cut from it into the backend.
    /// </summary>
    private static void Populate(Memory memory, MempoolHeader* header, string name, int numaNode)
    {
        nint* link = &header->FirstObject;
        uint placed = 0;
        nuint most = nuint.MaxValue;
        while (placed < header->Count)
        {
            nuint need = (nuint)(header->Count - placed) * header->StrideBytes;
            Memzone zone = ReserveChunk(memory, header, ChunkName(name, header->ZoneCount), need, numaNode, ref most);
            header->ZoneCount++;
            uint cut = Carve(memory, header, zone, header->Count - placed, ref link);
            if (cut == 0 || header->ZoneCount == MaxZones)
            {
                throw new DataplaneException($"cannot place {header->Count} objects of {header->StrideBytes} bytes for "
                    + $"mempool '{name}'", "its memory is in too many pieces that a device does not see as one",
                    "give the EAL hugepages: dpctl hugepages set", errno: Errno.ENOMEM);
            }
            placed += cut;
        }
    }

    private static Memzone ReserveChunk(Memory memory, MempoolHeader* header, string name, nuint need, int numaNode,
        ref nuint most)
    {
        while (true)
        {
            nuint ask = Math.Min(need, most);
            try
            {
                return memory.ReserveMemzone(name, ask, numaNode);
            }
            catch (DataplaneException e) when (e.Errno == Errno.ENOMEM
                && ask / 2 >= Math.Max(SmallestChunkBytes, header->StrideBytes) && need / (ask / 2) < MaxZones)
            {
                most = ask / 2;
            }
        }
    }

    private static MempoolLayout LayoutOf(Memory memory, MempoolHeader* header) =>
        MempoolLayout.For(header->ElementBytes, header->Flags, memory.Channels, memory.Ranks);

    private static uint Carve(Memory memory, MempoolHeader* header, Memzone zone, uint want, ref nint* link)
    {
        MempoolLayout layout = LayoutOf(memory, header);
        byte* slot = (byte*)zone.Address, end = slot + zone.SizeBytes;
        uint cut = 0;
        while (cut < want && (nuint)(end - slot) >= layout.StrideBytes)
        {
            if (!IsOnePiece(memory, slot, layout.StrideBytes))
            {
                slot = (byte*)(((nuint)slot / PageBytes + 1) * PageBytes);
                continue;
            }
            nint element = (nint)(slot + layout.HeaderBytes);
            MempoolObjectHeader* o = MempoolObjectHeader.Of(element);
            o->Pool = header;
            o->Iova = memory.ToIova((void*)element).Value;
            o->Cookie = MempoolObjectHeader.CookieValue;
            *link = element;
            link = &o->Next;
            if (header->IsMbufPool != 0)
                Mbuf.Init(header, element);
            if (MbufDebug.Enabled)
                MbufDebug.OnCreate(header, element);
            _ = MempoolBackend.TryPut(header, ref element, 1);
            slot += layout.StrideBytes;
            cut++;
        }
        return cut;
    }

    /// <summary>True when a device sees the bytes in one piece, or sees none of them.</summary>
    private static bool IsOnePiece(Memory memory, byte* start, nuint bytes)
    {
        ulong first = memory.ToIova(start).Value;
        if (first == (ulong)start || first == Iova.Bad.Value)
            return memory.ToIova(start + bytes - 1).Value - first == bytes - 1 || first == Iova.Bad.Value;
        for (nuint at = PageBytes; at < bytes; at += PageBytes)
        {
            if (memory.ToIova(start + at).Value - first != at)
                return false;
        }
        return memory.ToIova(start + bytes - 1).Value - first == bytes - 1;
    }

    // No pool's name makes it the main zone of another pool: those begin with MP_.
    private static string ChunkName(string name, uint chunk) =>
        string.Create(CultureInfo.InvariantCulture, $"MP{chunk}_{name}");

    // Reads nothing in them: they may be gone with the memory, and then no zone is found.
    private static void FreeZones(Memory memory, string name)
    {
        for (uint chunk = 0; memory.LookupMemzone(ChunkName(name, chunk)) is Memzone zone; chunk++)
            memory.FreeMemzone(zone);
        if (memory.LookupMemzone("MP_" + name) is Memzone main)
            memory.FreeMemzone(main);
    }

    private static ConfigException Invalid(string name, string what, string why) =>
        new($"mempool '{name}' cannot have {what}", why);
}
