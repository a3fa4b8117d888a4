using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>A whole file in native memory, played for ever. Its packets lie one behind the other.</summary>
internal sealed unsafe class PcapReplay : PacketSource
{
    private byte* _packets;
    private nuint _bytes, _capacity = 1 << 20;
    private byte* _at;

    private struct Entry
    {
        internal ulong Nanoseconds;
        internal uint Length, OriginalLength;
    }

    private PcapReplay() => _packets = (byte*)NativeMemory.Alloc(_capacity);

    /// <summary>Packets in the file.</summary>
    internal long Count { get; private set; }

    /// <summary>Reads a file to its end.</summary>
    /// <exception cref="ConfigException">Something in it is wrong, or there is no packet.</exception>
    /// <exception cref="DeviceException">It cannot be opened.</exception>
    internal static PcapReplay Load(string device, string path)
    {
        using PcapReader reader = PcapReader.Open(device, path);
        var replay = new PcapReplay();
        PcapRecord record = default;
        ReadStatus status;
        while ((status = reader.Next(ref record)) == ReadStatus.Packet)
            replay.Add(in record);
        if (status == ReadStatus.End && replay.Count > 0)
        {
            replay._at = replay._packets;
            return replay;
        }
        replay.Dispose();
        if (status == ReadStatus.End)
            throw new ConfigException($"device '{device}': file '{path}' cannot be played for ever", "it is empty");
        throw status == ReadStatus.Foreign
            ? PcapFaults.Error(device, path, reader.Offset, PcapFault.LinkType)
            : PcapFaults.Error(device, path, reader.FaultOffset, reader.Fault);
    }

    /// <inheritdoc/>
    internal override ReadStatus Next(ref PcapRecord record)
    {
        if (_at == _packets + _bytes)
            _at = _packets;
        var entry = (Entry*)_at;
        record.Nanoseconds = entry->Nanoseconds;
        record.Length = entry->Length;
        record.OriginalLength = entry->OriginalLength;
        record.Data = (byte*)(entry + 1);
        record.IsFirst = _at == _packets;
        _at += Size(entry->Length);
        return ReadStatus.Packet;
    }

    /// <inheritdoc/>
    internal override void Rewind() => _at = _packets;

    /// <inheritdoc/>
    public override void Dispose()
    {
        NativeMemory.Free(_packets);
        _packets = null;
    }

    private static nuint Size(uint length) => (nuint)sizeof(Entry) + (length + 15 & ~15u);

    private void Add(in PcapRecord record)
    {
        nuint size = Size(record.Length);
        if (_bytes + size > _capacity)
        {
            _capacity = Math.Max(_capacity * 2, _bytes + size);
            _packets = (byte*)NativeMemory.Realloc(_packets, _capacity);
        }
        var entry = (Entry*)(_packets + _bytes);
        entry->Nanoseconds = record.Nanoseconds;
        entry->Length = record.Length;
        entry->OriginalLength = record.OriginalLength;
        NativeMemory.Copy(record.Data, entry + 1, record.Length);
        _bytes += size;
        Count++;
    }
}
