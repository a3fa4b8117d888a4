using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane;

/// <summary>
/// Dynamic fields and flags: libraries and applications register, by name, some of the 36 spare bytes of every mbuf's
/// header and of the flag bits 23 to 40. The same name gives the same place. Control path, any thread; nothing is ever
/// unregistered. The registry lies in the memzone <c>mbuf_dynamic</c> of the EAL's memory.
/// </summary>
public static unsafe class MbufDynamic
{
    /// <summary>Name of the <see cref="ulong"/> field: time of receipt. RTE_MBUF_DYNFIELD_TIMESTAMP_NAME.</summary>
    public const string TimestampField = "rte_dynfield_timestamp";

    /// <summary>Name of the flag that says the time is there. RTE_MBUF_DYNFLAG_RX_TIMESTAMP_NAME.</summary>
    public const string RxTimestampFlag = "rte_dynflag_rx_timestamp";

    private const string ZoneName = "mbuf_dynamic";
    private const int FirstFlag = 23, LastFlag = 40;

    // Every field has a byte at least: 36 fields and 18 flags fill it.
    private const int MaxEntries = MbufHeader.DynFieldBytes + LastFlag - FirstFlag + 1;

    /// <summary>Registers a field, or finds the one of that name.</summary>
    /// <typeparam name="T">What it holds; its size, and alignment up to 8, are the field's.</typeparam>
    /// <param name="memory">Of the EAL.</param>
    /// <param name="name">1 to 63 ASCII characters.</param>
    /// <exception cref="ConfigException">It exists with another size, or there is no room.</exception>
    public static MbufField<T> RegisterField<T>(Memory memory, string name) where T : unmanaged =>
        new(RegisterField(memory, name, sizeof(T), Math.Min(8, sizeof(T) & -sizeof(T))));

    /// <summary>Registers a field, or finds the one of that name.</summary>
    /// <param name="memory">Of the EAL.</param>
    /// <param name="name">1 to 63 ASCII characters.</param>
    /// <param name="sizeBytes">1 to 36.</param>
    /// <param name="alignBytes">1, 2, 4 or 8.</param>
    /// <param name="offset">Where it must be, in bytes from the header's start; -1: where it fits best.</param>
    /// <returns>Bytes from the header's start.</returns>
    /// <exception cref="ConfigException">It exists with another size, alignment or place, or there is no
    /// room.</exception>
    public static int RegisterField(Memory memory, string name, int sizeBytes, int alignBytes, int offset = -1)
    {
        if (sizeBytes is < 1 or > MbufHeader.DynFieldBytes || alignBytes is not (1 or 2 or 4 or 8))
            throw Refused(name, $"a field of {sizeBytes} bytes aligned to {alignBytes} cannot be");
        Registry* registry = Open(memory, name);
        try
        {
            if (Find(registry, name, isFlag: false) is var i and >= 0)
            {
                ref Entry known = ref Entries(registry)[i];
                return known.Size == sizeBytes && known.Align == alignBytes && (offset < 0 || offset == known.Place)
                    ? known.Place
                    : throw Refused(name,
                        $"it exists with {known.Size} bytes aligned to {known.Align} at {known.Place}");
            }
            int at = offset < 0 ? BestFit(registry, sizeBytes, alignBytes) : offset;
            if (at < 0 || at % alignBytes != 0 || !IsFree(registry, at, sizeBytes))
                throw Refused(name, $"there is no room for {sizeBytes} bytes{(offset < 0 ? "" : $" at {offset}")}");
            Add(registry, name, new Entry { Size = (byte)sizeBytes, Align = (byte)alignBytes, Place = (byte)at });
            return at;
        }
        finally
        {
            MempoolLock.Exit(ref registry->Lock);
        }
    }

    /// <summary>Registers a flag, or finds the one of that name.</summary>
    /// <param name="memory">Of the EAL.</param>
    /// <param name="name">1 to 63 ASCII characters.</param>
    /// <param name="bit">Which bit it must be, 23 to 40; -1: the lowest free.</param>
    /// <returns>The flag, one bit.</returns>
    /// <exception cref="ConfigException">It exists as another bit, or no bit is free.</exception>
    public static MbufFlags RegisterFlag(Memory memory, string name, int bit = -1)
    {
        Registry* registry = Open(memory, name);
        try
        {
            if (Find(registry, name, isFlag: true) is var i and >= 0)
            {
                int known = Entries(registry)[i].Place;
                return bit < 0 || bit == known ? Flag(known) : throw Refused(name, $"it exists as bit {known}");
            }
            int free = bit < 0 ? FirstFlag : bit;
            while (bit < 0 && free <= LastFlag && IsTaken(registry, free))
                free++;
            if (free is < FirstFlag or > LastFlag || IsTaken(registry, free))
                throw Refused(name, bit < 0 ? "all flags are taken" : $"bit {bit} is not free");
            Add(registry, name, new Entry { Place = (byte)free });
            return Flag(free);
        }
        finally
        {
            MempoolLock.Exit(ref registry->Lock);
        }
    }

    /// <summary>Finds a field.</summary>
    /// <returns>Bytes from the header's start, or -1 when there is none of that name.</returns>
    public static int LookupField(Memory memory, string name) => Lookup(memory, name, isFlag: false);

    /// <summary>Finds a flag.</summary>
    /// <returns><see cref="MbufFlags.None"/> when there is none of that name.</returns>
    public static MbufFlags LookupFlag(Memory memory, string name) =>
        Lookup(memory, name, isFlag: true) is var bit and >= 0 ? Flag(bit) : MbufFlags.None;

    /// <summary>All fields and flags as text.</summary>
    public static string Dump(Memory memory)
    {
        var text = new StringBuilder();
        if (memory.LookupMemzone(ZoneName) is not Memzone zone)
            return "";
        var registry = (Registry*)zone.Address;
        foreach (ref readonly Entry entry in Entries(registry))
        {
            text.Append(CultureInfo.InvariantCulture, $"{(entry.Size == 0 ? "flag" : "field")} {NameOf(in entry)}: ");
            if (entry.Size == 0)
                text.Append(CultureInfo.InvariantCulture, $"bit {entry.Place}\n");
            else
            {
                text.Append(CultureInfo.InvariantCulture,
                    $"offset {entry.Place}, {entry.Size} bytes, align {entry.Align}\n");
            }
        }
        return text.ToString();
    }

    private static int Lookup(Memory memory, string name, bool isFlag)
    {
        if (memory.LookupMemzone(ZoneName) is not Memzone zone)
            return -1;
        var registry = (Registry*)zone.Address;
        MempoolLock.Enter(ref registry->Lock);
        int i = Find(registry, name, isFlag);
        int place = i < 0 ? -1 : Entries(registry)[i].Place;
        MempoolLock.Exit(ref registry->Lock);
        return place;
    }

    /// <summary>The registry, locked.</summary>
    private static Registry* Open(Memory memory, string name)
    {
        if (name.Length is 0 or > Entry.MaxNameLength || !Ascii.IsValid(name))
            throw Refused(name, $"a name is 1 to {Entry.MaxNameLength} ASCII characters");
        Memzone? zone = memory.LookupMemzone(ZoneName);
        try
        {
            zone ??= memory.ReserveMemzone(ZoneName, (nuint)sizeof(Registry));
        }
        catch (DataplaneException e) when (e.Errno == Errno.EEXIST)
        {
            zone = memory.LookupMemzone(ZoneName)!;     // another thread was faster
        }
        var registry = (Registry*)zone.Address;
        MempoolLock.Enter(ref registry->Lock);
        return registry;
    }

    /// <summary>
    /// The place that breaks up least: of all free ones the one in the smallest naturally aligned free block.
    /// </summary>
    private static int BestFit(Registry* registry, int size, int align)
    {
        int best = -1, bestBlock = int.MaxValue;
        for (int at = MbufHeader.DynFieldOffset; at + size <= sizeof(MbufHeader); at++)
        {
            if (at % align != 0 || !IsFree(registry, at, size))
                continue;
            int block = 1;
            while (IsFree(registry, at & -(block * 2), block * 2))
                block *= 2;
            if (block < bestBlock)
                (best, bestBlock) = (at, block);
        }
        return best;
    }

    private static bool IsFree(Registry* registry, int at, int size)
    {
        if (at < MbufHeader.DynFieldOffset || at + size > sizeof(MbufHeader))
            return false;
        foreach (ref readonly Entry entry in Entries(registry))
        {
            if (entry.Size != 0 && at < entry.Place + entry.Size && entry.Place < at + size)
                return false;
        }
        return true;
    }

    private static bool IsTaken(Registry* registry, int bit)
    {
        foreach (ref readonly Entry entry in Entries(registry))
        {
            if (entry.Size == 0 && entry.Place == bit)
                return true;
        }
        return false;
    }

    private static int Find(Registry* registry, string name, bool isFlag)
    {
        Span<Entry> entries = Entries(registry);
        for (int i = 0; i < entries.Length; i++)
        {
            if (entries[i].Size == 0 == isFlag && NameOf(in entries[i]) == name)
                return i;
        }
        return -1;
    }

    private static void Add(Registry* registry, string name, Entry entry)
    {
        Encoding.ASCII.GetBytes(name, new Span<byte>(entry.Name, Entry.MaxNameLength));
        Registry.At(registry)[registry->Count++] = entry;
    }

    private static Span<Entry> Entries(Registry* registry) => new(Registry.At(registry), registry->Count);

    private static MbufFlags Flag(int bit) => (MbufFlags)(1ul << bit);

    private static string NameOf(in Entry entry)
    {
        fixed (byte* name = entry.Name)
            return Marshal.PtrToStringUTF8((nint)name) ?? "";
    }

    private static ConfigException Refused(string name, string why) =>
        new($"cannot register '{name}' in the mbuf header", why);

    [StructLayout(LayoutKind.Explicit, Size = 8 + (MaxEntries * Entry.SizeBytes))]
    private struct Registry
    {
        [FieldOffset(0)] internal int Lock;
        [FieldOffset(4)] internal int Count;

        internal static Entry* At(Registry* registry) => (Entry*)((byte*)registry + 8);
    }

    [StructLayout(LayoutKind.Explicit, Size = SizeBytes)]
    private struct Entry
    {
        internal const int SizeBytes = 72;
        internal const int MaxNameLength = 63;

        [FieldOffset(0)] internal fixed byte Name[MaxNameLength + 1];
        /// <summary>0: a flag.</summary>
        [FieldOffset(64)] internal byte Size;
        [FieldOffset(65)] internal byte Align;
        /// <summary>Byte of the header, or bit of the flags.</summary>
        [FieldOffset(66)] internal byte Place;
    }
}

/// <summary>A dynamic field of every mbuf: <c>field.Of(mbuf)</c> is a reference to it. Data path.</summary>
/// <param name="Offset">Bytes from the header's start.</param>
public readonly unsafe record struct MbufField<T>(int Offset) where T : unmanaged
{
    /// <summary>The field of one mbuf. Aligned as registered.</summary>
    public ref T Of(Mbuf mbuf) => ref *(T*)((byte*)mbuf.Header + Offset);
}
