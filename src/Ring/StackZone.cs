namespace Dataplane;

/// <summary>Where the memory of a stack comes from.</summary>
internal static unsafe class StackZone
{
    internal const string NamePrefix = "STK_";

    internal static Memzone Create<T>(Memory memory, string name, int capacity, int numaNode, StackKind kind)
        where T : unmanaged
    {
        if (name.Length is 0 or > StackHeader.MaxNameLength)
            throw new ConfigException($"a stack cannot be called '{name}'", "a name has 1 to 27 characters");
        if (sizeof(T) != StackHeader.ElementBytes)
            throw new ConfigException($"a stack of {typeof(T)} cannot be made",
                $"its size is {sizeof(T)} bytes, a stack holds elements of 8", "keep pointers or handles in it");
        nuint bytes = StackHeader.BytesFor(kind, capacity);
        Memzone zone = memory.ReserveMemzone(NamePrefix + name, bytes, numaNode, RingHeader.Separation);
        StackHeader.Init((StackHeader*)zone.Address, name, kind, capacity);
        return zone;
    }

    internal static Memzone? Lookup<T>(Memory memory, string name, StackKind kind) where T : unmanaged
    {
        Memzone? zone = memory.LookupMemzone(NamePrefix + name);
        if (zone == null)
            return null;
        StackKind found = ((StackHeader*)zone.Address)->Kind;
        if (found != kind || sizeof(T) != StackHeader.ElementBytes)
            throw new ConfigException($"stack '{name}' cannot be used as a {kind} one of {typeof(T)}",
                $"it is {found}, its elements have 8 bytes");
        return zone;
    }
}
