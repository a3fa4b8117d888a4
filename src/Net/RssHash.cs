using System.Runtime.InteropServices;

namespace Dataplane.Net;

/// <summary>What a NIC's receive side scaling does, in software: a hash per packet and a queue per hash.</summary>
public static class RssHash
{
    /// <summary>
    /// Hash of a frame's addresses, and ports where it has them (TCP, UDP, SCTP; not in fragments, so that all of a
    /// packet go one way), with <see cref="Toeplitz.Default"/>. Outer headers only. 0 when it is not IP.
    /// </summary>
    /// <param name="frame">The frame from its Ethernet header.</param>
    public static uint Compute(ReadOnlySpan<byte> frame) => Compute(Toeplitz.Default, frame);

    /// <summary>As <see cref="Compute(ReadOnlySpan{byte})"/> with another key.</summary>
    public static uint Compute(Toeplitz toeplitz, ReadOnlySpan<byte> frame)
    {
        uint type = PacketParser.Parse(frame, out HeaderLengths lengths);
        bool isIPv4 = PacketType.IsIpv4(type);
        if (!isIPv4 && !PacketType.IsIpv6(type))
            return 0;
        // Addresses lie side by side in both headers, in the order they are hashed.
        ReadOnlySpan<byte> addresses = isIPv4 ? frame.Slice(lengths.L2 + 12, 8) : frame.Slice(lengths.L2 + 8, 32);
        if ((type & PacketType.L4Mask) is not (PacketType.L4Tcp or PacketType.L4Udp or PacketType.L4Sctp))
            return toeplitz.HashWords(MemoryMarshal.Cast<byte, Be32>(addresses));
        Span<Be32> words = stackalloc Be32[9];
        MemoryMarshal.Cast<byte, Be32>(addresses).CopyTo(words);
        int count = addresses.Length / 4;
        words[count] = frame.HeaderAt<Be32>(lengths.L4Offset);
        return toeplitz.HashWords(words[..(count + 1)]);
    }
}

/// <summary>A redirection table: which queue a hash goes to. Read from any thread; change it while nobody
/// reads.</summary>
public sealed class RedirectionTable
{
    private readonly ushort[] _queues;

    /// <summary>Makes a table that spreads evenly over <paramref name="queues"/> queues.</summary>
    /// <param name="queues">Queues, 1 to 65,536.</param>
    /// <param name="entries">Entries, a power of two; 128 is what most NICs have.</param>
    /// <exception cref="ArgumentOutOfRangeException">One of them is outside its range.</exception>
    public RedirectionTable(int queues, int entries = 128)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(queues, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(queues, 65536);
        if (entries < 1 || (entries & entries - 1) != 0)
            throw new ArgumentOutOfRangeException(nameof(entries), entries, "must be a power of two");
        _queues = new ushort[entries];
        for (int i = 0; i < entries; i++)
            _queues[i] = (ushort)(i % queues);
    }

    /// <summary>The entries: queue numbers, to read and to write.</summary>
    public Span<ushort> Entries => _queues;

    /// <summary>The queue of a packet with this hash.</summary>
    public int QueueOf(uint hash)
    {
        ushort[] queues = _queues;
        return queues[(int)hash & (queues.Length - 1)];
    }
}
