using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>
/// What a VFIO info call answered: the fixed part, and all bytes with the chain of capabilities behind it
/// (linux/vfio.h, vfio_info_cap_header). The chain is not trusted: what points outside or backwards is an error.
/// </summary>
/// <param name="Fixed">The struct.</param>
/// <param name="Bytes">All that was read, the struct too.</param>
/// <param name="FirstCapability">Offset of the first capability in them, 0 for none.</param>
internal sealed unsafe record VfioInfo<T>(T Fixed, byte[] Bytes, uint FirstCapability) where T : unmanaged
{
    /// <summary>Whether there is a capability.</summary>
    /// <exception cref="NativeException">The chain is broken.</exception>
    internal bool Has(ushort id) => !Find(id).IsEmpty;

    /// <summary>The fixed part of a capability, null where there is none.</summary>
    /// <exception cref="NativeException">The chain is broken.</exception>
    internal TCapability? Get<TCapability>(ushort id) where TCapability : unmanaged
    {
        ReadOnlySpan<byte> found = Find(id);
        return found.IsEmpty ? null : Read<TCapability>(found);
    }

    /// <summary>The array behind a capability's fixed part, null where there is no such capability.</summary>
    /// <param name="id">Which.</param>
    /// <param name="count">Reads its length out of the fixed part.</param>
    /// <exception cref="NativeException">The chain is broken, or the array does not fit.</exception>
    internal TItem[]? GetArray<TCapability, TItem>(ushort id, Func<TCapability, uint> count)
        where TCapability : unmanaged where TItem : unmanaged
    {
        ReadOnlySpan<byte> found = Find(id);
        if (found.IsEmpty)
            return null;
        uint items = count(Read<TCapability>(found));
        ReadOnlySpan<byte> rest = found[sizeof(TCapability)..];
        if (items > rest.Length / sizeof(TItem))
            throw Broken($"capability {id} counts {items} items, there is room for {rest.Length / sizeof(TItem)}");
        return MemoryMarshal.Cast<byte, TItem>(rest[..((int)items * sizeof(TItem))]).ToArray();
    }

    // Up to the end of all bytes: how long it is, only its id tells.
    private ReadOnlySpan<byte> Find(ushort id)
    {
        uint least = (uint)sizeof(T);
        for (uint at = FirstCapability; at != 0;)
        {
            if (at < least || at > Bytes.Length - sizeof(vfio_info_cap_header))
                throw Broken($"a capability is said to be at {at}, where {least} to "
                    + $"{Bytes.Length - sizeof(vfio_info_cap_header)} can be");
            var header = MemoryMarshal.Read<vfio_info_cap_header>(Bytes.AsSpan((int)at));
            if (header.id == id)
                return Bytes.AsSpan((int)at);
            least = at + (uint)sizeof(vfio_info_cap_header);   // the kernel appends, so the next lies behind: no loop
            at = header.next;
        }
        return default;
    }

    private static TCapability Read<TCapability>(ReadOnlySpan<byte> found) where TCapability : unmanaged =>
        MemoryMarshal.TryRead(found, out TCapability value) ? value
            : throw Broken($"{found.Length} bytes are left for a {typeof(TCapability).Name} of {sizeof(TCapability)}");

    private static NativeException Broken(string why) =>
        new($"the kernel's {typeof(T).Name} has a broken chain of capabilities", Errno.EBADMSG, why);
}
