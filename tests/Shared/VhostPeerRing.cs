using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>A ring as a driver writes it, split or packed, and as one does who means harm.</summary>
internal sealed unsafe class VhostPeerRing
{
    /// <summary>Descriptors; bytes of memory, where the driver's and the device's part are, and indirect
    /// tables.</summary>
    internal const int Size = 64, Bytes = 0x5000, DriverAt = 0x1000, DeviceAt = 0x2000;

    private const int TablesAt = 0x3000, TableEntries = (Bytes - TablesAt) / 16;
    private const ushort Avail = 1 << VirtioRing.VRING_PACKED_DESC_F_AVAIL,
        Used = 1 << VirtioRing.VRING_PACKED_DESC_F_USED;

    private readonly byte* _memory;
    private readonly ulong _guest;
    private readonly bool _packed;
    private readonly ushort _direction;
    private readonly Queue<int> _outstanding = [];   // descriptors of each buffer the other end has
    private int _at, _usedAt, _table;
    private ushort _available, _usedIndex;
    private bool _wrap, _usedWrap;

    internal VhostPeerRing(byte* memory, ulong guest, bool packed, bool writable)
    {
        _memory = memory;
        _guest = guest;
        _packed = packed;
        _direction = writable ? VirtioRing.VRING_DESC_F_WRITE : (ushort)0;
        Reset();
    }

    /// <summary>Descriptors free.</summary>
    internal int Room { get; private set; }

    /// <summary>Where it starts, as SET_VRING_BASE has it.</summary>
    internal uint Start => _packed ? 0x8000_8000 : 0;

    /// <summary>The other end's part, as it is now.</summary>
    internal Span<byte> Device => new(_memory + DeviceAt, 4 + 8 * Size + 2);

    private vring_desc* Table => (vring_desc*)_memory;
    private ushort* AvailableIndex => (ushort*)(_memory + DriverAt) + 1;

    /// <summary>As at first: nothing in it.</summary>
    internal void Reset()
    {
        new Span<byte>(_memory, Bytes).Clear();
        _outstanding.Clear();
        (Room, _at, _usedAt, _table, _available, _usedIndex, _wrap, _usedWrap) = (Size, 0, 0, 0, 0, 0, true, true);
    }

    /// <summary>Makes a buffer available; the other end sees a split ring's after <see cref="Publish"/>.</summary>
    /// <returns>False when there is no room.</returns>
    internal bool TryAdd(ReadOnlySpan<VirtioPart> parts, bool indirect)
    {
        Reclaim();
        int slots = indirect ? 1 : parts.Length;
        if (slots > Room || parts.Length > TableEntries)
            return false;
        int head = _at;
        if (indirect)
        {
            _table = _table + parts.Length > TableEntries ? 0 : _table;
            var table = (vring_desc*)(_memory + TablesAt) + _table;
            for (int i = 0; i < parts.Length; i++)
                Write(table + i, parts[i], i == parts.Length - 1, i + 1);
            var whole = new VirtioPart(_guest + TablesAt + (ulong)_table * 16, (uint)parts.Length * 16);
            _table += parts.Length;
            Put(whole, VirtioRing.VRING_DESC_F_INDIRECT, true, head);
        }
        else
            for (int i = 0; i < parts.Length; i++)
                Put(parts[i], _direction, i == parts.Length - 1, head);
        if (!_packed)
            (AvailableIndex + 1)[_available++ % Size] = (ushort)head;
        Room -= slots;
        _outstanding.Enqueue(slots);
        return true;
    }

    /// <summary>Shows what was added.</summary>
    internal void Publish()
    {
        if (!_packed)
            Volatile.Write(ref *AvailableIndex, _available);
    }

    /// <summary>Asks to be told of what is given back, or not to be.</summary>
    internal void WantCalls(bool on)
    {
        ushort off = _packed ? VirtioRing.VRING_PACKED_EVENT_FLAG_DISABLE : VirtioRing.VRING_AVAIL_F_NO_INTERRUPT;
        Volatile.Write(ref ((ushort*)(_memory + DriverAt))[_packed ? 1 : 0], on ? (ushort)0 : off);
    }

    /// <summary>Bytes the other end says it wrote into the buffer added as that one of all since the start, of one
    /// descriptor each.</summary>
    internal int Written(int buffer) => _packed ? (int)((vring_packed_desc*)_memory)[buffer % Size].len
        : (int)((vring_used_elem*)(_memory + DeviceAt + 4))[buffer % Size].len;

    /// <summary>Changes something the other end reads, but leaves no buffer inside of the rings.</summary>
    internal void Spoil(Random random)
    {
        int at = random.Next(8) switch
        {
            0 => DriverAt + random.Next(_packed ? 4 : 6 + 2 * Size),
            1 => DriverAt + random.Next(4),
            2 or 3 => TablesAt + random.Next(1024),
            _ => random.Next(16 * Size),
        };
        _memory[at] = random.Next(3) switch
        {
            0 => (byte)random.Next(256),
            1 => (byte)(_memory[at] ^ 1 << random.Next(8)),
            _ => random.Next(2) == 0 ? (byte)0 : (byte)0xff,
        };
        Repair(Table, Size);
        Repair((vring_desc*)(_memory + TablesAt), TableEntries);
    }

    /// <summary>Breaks one rule in the first buffer added.</summary>
    internal void Change(string rule)
    {
        vring_desc* first = Table, table = (vring_desc*)(_memory + TablesAt);
        ref ushort flags = ref _packed ? ref ((vring_packed_desc*)first)->flags : ref first->flags;
        switch (rule)
        {
            case "direction":
                flags ^= VirtioRing.VRING_DESC_F_WRITE;
                break;
            case "loop":
                for (int i = 0; i < Size; i++)
                {
                    vring_desc* one = first + i;
                    if (_packed)
                        *(vring_packed_desc*)one = ((vring_packed_desc*)first)[0];
                    else
                        *one = first[0] with { next = (ushort)((i + 1) % Size) };
                }
                break;
            case "nested":
                table->flags = VirtioRing.VRING_DESC_F_INDIRECT;
                break;
            case "odd table":
                first->len--;
                break;
            case "empty table":
                first->len = 0;
                break;
            case "id":
                AvailableIndex[1] = Size;
                break;
            case "index":
                _available += Size;
                break;
            case "used":
                for (int i = 0; i < 2; i++)
                    ((vring_packed_desc*)first)[i].flags = Avail | Used;
                break;
            case "table index":
                table->next = 2;
                break;
        }
    }

    /// <summary>Changes any byte of it, while it may be looked at.</summary>
    internal void Scribble(Random random)
    {
        int area = random.Next(4) * 0x1000;
        Volatile.Write(ref _memory[area + random.Next(area == 0 ? 1024 : 600)], (byte)random.Next(256));
    }

    private void Repair(vring_desc* table, int entries)
    {
        for (int i = 0; i < entries; i++)
        {
            int flags = _packed ? ((vring_packed_desc*)table)[i].flags : table[i].flags;
            if ((flags & VirtioRing.VRING_DESC_F_INDIRECT) == 0 && table[i].addr - VhostPeer.RingsAt < 2 * Bytes)
                table[i].addr = VhostPeer.BuffersAt;
        }
    }

    private void Put(VirtioPart part, ushort flags, bool last, int head)
    {
        ushort all = (ushort)(flags | (last ? 0 : VirtioRing.VRING_DESC_F_NEXT));
        int next = (_at + 1) % Size;
        if (_packed)
            *(vring_packed_desc*)(Table + _at) = new()
            {
                addr = part.Address, len = part.Length, id = (ushort)head,
                flags = (ushort)(all | (_wrap ? Avail : Used)),
            };
        else
            Table[_at] = new() { addr = part.Address, len = part.Length, flags = all, next = (ushort)next };
        _wrap ^= next == 0;
        _at = next;
    }

    private void Write(vring_desc* at, VirtioPart part, bool last, int next)
    {
        if (_packed)
            *(vring_packed_desc*)at = new() { addr = part.Address, len = part.Length, flags = _direction };
        else
            *at = new()
            {
                addr = part.Address, len = part.Length, next = (ushort)next,
                flags = (ushort)(_direction | (last ? 0 : VirtioRing.VRING_DESC_F_NEXT)),
            };
    }

    /// <summary>Takes back what was given back.</summary>
    internal void Reclaim()
    {
        while (_outstanding.TryPeek(out int slots) && IsUsed())
        {
            _outstanding.Dequeue();
            Room += slots;
            _usedIndex++;
            _usedAt += slots;
            _usedWrap ^= _usedAt >= Size;
            _usedAt %= Size;
        }
    }

    private bool IsUsed()
    {
        if (!_packed)
            return Volatile.Read(ref *((ushort*)(_memory + DeviceAt) + 1)) != _usedIndex;
        ushort flags = Volatile.Read(ref ((vring_packed_desc*)_memory)[_usedAt].flags);
        return (flags & (Avail | Used)) == (_usedWrap ? Avail | Used : 0);
    }
}
