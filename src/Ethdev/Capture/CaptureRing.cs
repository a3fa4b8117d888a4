using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// The application's end of a ring in memory it shares with a reader it does not trust: the memory is written and never
/// read back, and of the reader only one number is taken, if it makes sense. The thread of the queue alone uses it.
/// </summary>
internal sealed unsafe class CaptureRing
{
    private readonly CaptureRingHeader* _header;
    private readonly byte* _data;
    private readonly ulong* _reader;    // how far the reader says it is
    private readonly uint _size;
    private ulong _head;                // written up to here
    private ulong _tail;                // read up to here, as last believed

    /// <summary>On memory that is there as long as this is used.</summary>
    /// <param name="memory">The ring's page and packets.</param>
    /// <param name="size">Bytes for packets, a power of two.</param>
    /// <param name="reader">The reader's line.</param>
    internal CaptureRing(byte* memory, uint size, ulong* reader)
    {
        _header = (CaptureRingHeader*)memory;
        _data = memory + CaptureRingHeader.Bytes;
        _size = size;
        _reader = reader;
    }

    /// <summary>Where the next record goes; what lies before <see cref="Publish"/>ed is the reader's.</summary>
    internal ulong Head => _head;

    /// <summary>Makes room for a record.</summary>
    /// <returns>Where its packet's bytes go; null where the ring is full.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal byte* Add(ulong tsc, uint length, uint captured, uint lost)
    {
        uint bytes = CaptureRecord.Bytes(captured), place = (uint)_head & (_size - 1);
        uint skipped = bytes > _size - place ? _size - place : 0;
        if (bytes + skipped > _size - (_head - _tail) && !HasRoom(bytes + skipped))
            return null;
        if (skipped != 0)
        {
            ((CaptureRecord*)(_data + place))->Captured = CaptureRecord.Wrap;
            _head += skipped;
            place = 0;
        }
        var record = (CaptureRecord*)(_data + place);
        record->Tsc = tsc;
        record->Length = length;
        record->Captured = captured;
        record->Lost = lost;
        _head += bytes;
        return (byte*)(record + 1);
    }

    /// <summary>Takes back what was added since the ring was here.</summary>
    internal void Rewind(ulong head) => _head = head;

    /// <summary>Lets the reader see what was added, and the counts.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal void Publish(in CaptureRingHeader counts)
    {
        _header->Seen = counts.Seen;
        _header->Accepted = counts.Accepted;
        _header->Captured = counts.Captured;
        _header->Dropped = counts.Dropped;
        Volatile.Write(ref _header->Head, _head);       // K0: pairs with K1
    }

    /// <summary>Tells the reader that nothing more will come. Control path; no thread is in the ring.</summary>
    internal void End(CaptureEnd why) => Volatile.Write(ref _header->End, (uint)why);      // K4: pairs with K5

    // A reader can only make room up to what was written, and take none back. Whatever else it says is not heard.
    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private bool HasRoom(uint bytes)
    {
        ulong said = Volatile.Read(ref *_reader);       // K3: pairs with K2
        if (said - _tail <= _head - _tail)
            _tail = said;
        return bytes <= _size - (_head - _tail);
    }
}
