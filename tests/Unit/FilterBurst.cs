using System.Runtime.InteropServices;

namespace Dataplane.Tests;

/// <summary>A burst for filters to look at: mbufs by themselves, of no pool, each segment's bytes in memory of its own
/// length.</summary>
internal sealed unsafe class FilterBurst : IDisposable
{
    private readonly List<nint> _memory = [];
    private readonly List<Mbuf> _packets = [];
    private readonly PacketVerdict[] _verdicts = new PacketVerdict[64];
    private readonly byte* _window = (byte*)NativeMemory.Alloc(PacketFilter.WindowBytes);

    public void Dispose()
    {
        _memory.ForEach(memory => NativeMemory.Free((void*)memory));
        NativeMemory.Free(_window);
    }

    /// <summary>Adds a packet.</summary>
    /// <param name="bytes">Its own.</param>
    /// <param name="wireLength">What its header says.</param>
    /// <param name="segment">How many of so many bytes that are left are in the next segment.</param>
    internal void Add(ReadOnlySpan<byte> bytes, uint wireLength, Func<int, int> segment)
    {
        MbufHeader* head = null, last = null;
        do
        {
            int length = Math.Min(segment(bytes.Length), bytes.Length), headroom = Random.Shared.Next(200);
            var mbuf = (MbufHeader*)Take(sizeof(MbufHeader));
            *mbuf = new() { BufAddr = (byte*)Take(headroom + length), DataOff = (ushort)headroom,
                DataLen = (ushort)length, PktLen = wireLength };
            bytes[..length].CopyTo(new Span<byte>(mbuf->BufAddr + headroom, length));
            bytes = bytes[length..];
            if (head == null)
                head = mbuf;
            else
                last->Next = mbuf;
            last = mbuf;
        }
        while (!bytes.IsEmpty);
        _packets.Add(new(head));
    }

    /// <summary>Bytes of a packet that filters see: its first segment, or so much of all as the window takes.
    /// </summary>
    internal int SeenBytes(int packet)
    {
        MbufHeader* mbuf = _packets[packet].Header;
        int first = mbuf->DataLen, all = 0;
        if (first == mbuf->PktLen || first >= PacketFilter.WindowBytes)
            return first;
        for (; mbuf != null; mbuf = mbuf->Next)
            all += mbuf->DataLen;
        return Math.Min(all, PacketFilter.WindowBytes);
    }

    /// <summary>How many a filter takes.</summary>
    internal int Count(PacketFilter filter) => filter.Run(CollectionsMarshal.AsSpan(_packets), _verdicts, _window);

    /// <summary>What it says of each; 0 of those it leaves.</summary>
    internal uint[] Run(PacketFilter filter)
    {
        uint[] said = new uint[_packets.Count];
        int taken = Count(filter), before = -1;
        foreach (PacketVerdict verdict in _verdicts.AsSpan(0, taken))
        {
            Assert.True((int)verdict.Place > before && verdict.Keep != 0, "verdicts are out of order, or empty");
            said[before = (int)verdict.Place] = verdict.Keep;
        }
        return said;
    }

    private void* Take(int bytes)
    {
        void* memory = NativeMemory.Alloc((nuint)Math.Max(bytes, 1));
        _memory.Add((nint)memory);
        return memory;
    }
}
