using System.Numerics;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>Takes captured packets.</summary>
internal interface ICaptureSink
{
    /// <summary>Called for each packet, ordered by time among those of one <see cref="CaptureReader.Read"/>.</summary>
    /// <param name="ring">The place of its ring in <see cref="CaptureReader.Rings"/>.</param>
    /// <param name="record">Its facts.</param>
    /// <param name="data">What was kept of it, for the time of the call.</param>
    /// <returns>False to take no more now; this packet was taken.</returns>
    bool OnPacket(int ring, in CaptureRecord record, ReadOnlySpan<byte> data);
}

/// <summary>A ring as its reader knows it.</summary>
internal sealed record CapturedQueue(ushort Port, string PortName, MacAddress Mac, ulong LinkBitsPerSecond,
    ushort Queue, CaptureDirection Direction);

/// <summary>The tool's end of a capture. One thread at a time.</summary>
internal sealed unsafe class CaptureReader : IDisposable
{
    private const uint LineBytes = CaptureMemory.LineBytes;

    private readonly Place[] _places;
    private readonly nuint _ringsBytes, _linesBytes;
    private byte* _rings, _lines;

    private CaptureReader(CaptureReply reply, CapturedQueue[] rings, SafeFileHandle ringsFile,
        SafeFileHandle linesFile)
    {
        Reply = reply;
        Rings = rings;
        _places = new Place[rings.Length];
        _ringsBytes = (nuint)rings.Length * (CaptureRingHeader.Bytes + reply.RingBytes);
        _linesBytes = ((nuint)rings.Length * LineBytes + 4095) & ~(nuint)4095;
        try
        {
            _rings = Map(ringsFile, _ringsBytes, Mman.PROT_READ);
            _lines = Map(linesFile, _linesBytes, Mman.PROT_READ | Mman.PROT_WRITE);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    private struct Place
    {
        internal ulong Tail;        // read up to here
        internal ulong Head;        // written up to here, as last seen
        internal ulong Next;        // stamp of the record at Tail
        internal CaptureRecord Record;      // that record as it was checked: the application can change its own
    }

    /// <summary>What the application said of the capture.</summary>
    internal CaptureReply Reply { get; }

    /// <summary>Its rings.</summary>
    internal IReadOnlyList<CapturedQueue> Rings { get; }

    /// <summary>Whether the application captures no more on one of the queues, and why. What was captured before that
    /// is in the rings when this says so.</summary>
    internal CaptureEnd End
    {
        get
        {
            for (int i = 0; i < _places.Length; i++)
                if (Volatile.Read(ref Header(i)->End) is var end and not 0)     // K5: pairs with K4
                    return end == (uint)CaptureEnd.Released ? CaptureEnd.Released : CaptureEnd.Ended;
            return CaptureEnd.None;
        }
    }

    /// <summary>Asks an application for a capture, which begins at once and lasts as long as the connection.</summary>
    /// <exception cref="DataplaneException">It refused, or gave what makes no sense.</exception>
    internal static CaptureReader Attach(ControlConnection connection, CaptureRequest request,
        ReadOnlySpan<sock_filter> filter)
    {
        request.Instructions = (uint)filter.Length;
        byte[] body = [.. MemoryMarshal.AsBytes(new ReadOnlySpan<CaptureRequest>(in request)),
            .. MemoryMarshal.AsBytes(filter)];
        var files = new List<SafeFileHandle>();
        try
        {
            byte[] answer = connection.Ask(ControlType.Capture, body, files);
            if (!MemoryMarshal.TryRead(answer, out CaptureReply reply) || files.Count != 2
                || reply.RingCount is < 1 or > CaptureRequest.MostRings
                || reply.RingBytes != request.RingBytes || !BitOperations.IsPow2(reply.RingBytes)
                || reply.RingBytes is < CaptureRequest.LeastRingBytes or > CaptureRequest.MostRingBytes
                || reply.SnapLength < CaptureRequest.LeastSnapLength || reply.SnapLength > request.SnapLength
                || answer.Length != sizeof(CaptureReply) + reply.RingCount * (long)sizeof(CaptureRingInfo))
                throw Senseless(connection.ProcessId);
            return new(reply, Describe(MemoryMarshal.Cast<byte, CaptureRingInfo>(
                answer.AsSpan(sizeof(CaptureReply)))), files[0], files[1]);
        }
        finally
        {
            files.ForEach(file => file.Dispose());
        }
    }

    /// <summary>A ring's counts so far.</summary>
    internal CaptureRingHeader Counts(int ring) => *Header(ring);

    /// <summary>Hands over packets that are there.</summary>
    /// <param name="sink">To whom.</param>
    /// <param name="until">Later ones (by <see cref="CaptureRecord.Tsc"/>) stay for the next time, so that most packets
    /// of different rings come in the order of their stamps. Not all from call to call: a burst is stamped before its
    /// lcore publishes it, and may be found by the call after one that found later ones of another. With
    /// <see cref="CaptureClock.Settled"/> that takes an lcore that was kept from running.</param>
    /// <returns>How many.</returns>
    /// <exception cref="DataplaneException">The memory makes no sense.</exception>
    internal int Read(ICaptureSink sink, ulong until)
    {
        for (int i = 0; i < _places.Length; i++)
        {
            _places[i].Head = Volatile.Read(ref Header(i)->Head);      // K1: pairs with K0
            Look(i);
        }
        int count = 0;
        for (bool goOn = true; goOn;)
        {
            int first = -1;
            ulong least = ulong.MaxValue, second = ulong.MaxValue;
            for (int i = 0; i < _places.Length; i++)
                if (_places[i].Next < least)
                    (first, second, least) = (i, least, _places[i].Next);
                else
                    second = Math.Min(second, _places[i].Next);
            if (least > until || first < 0)
                return count;
            // This ring's packets are next until another's are.
            for (ulong end = Math.Min(second, until); goOn && _places[first].Next <= end; count++)
                goOn = Take(first, sink);
            Volatile.Write(ref *(ulong*)(_lines + (nuint)first * LineBytes), _places[first].Tail);  // K2: with K3
        }
        return count;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_rings != null)
            _ = Mman.munmap(_rings, _ringsBytes);
        if (_lines != null)
            _ = Mman.munmap(_lines, _linesBytes);
        _rings = _lines = null;
    }

    private bool Take(int ring, ICaptureSink sink)
    {
        ref Place place = ref _places[ring];
        CaptureRecord record = place.Record;
        var data = new ReadOnlySpan<byte>((byte*)Record(ring, place.Tail) + sizeof(CaptureRecord),
            (int)record.Captured);
        bool goOn = sink.OnPacket(ring, record, data);
        place.Tail += CaptureRecord.Bytes(record.Captured);
        Look(ring);
        return goOn;
    }

    /// <summary>Finds the next record, and that it is whole.</summary>
    private void Look(int ring)
    {
        ref Place place = ref _places[ring];
        uint size = Reply.RingBytes;
        place.Next = ulong.MaxValue;
        if (place.Tail == place.Head)
            return;
        uint left = size - (uint)(place.Tail & (size - 1));
        if (Record(ring, place.Tail)->Captured == CaptureRecord.Wrap)
        {
            place.Tail += left;
            left = size;
        }
        CaptureRecord record = *Record(ring, place.Tail);
        ulong bytes = CaptureRecord.Bytes(Math.Min(record.Captured, size));
        if (place.Head - place.Tail > size || bytes > place.Head - place.Tail || bytes > left
            || record.Captured > record.Length || record.Captured > Reply.SnapLength)
            throw new DataplaneException("the capture's memory makes no sense",
                $"ring {ring} at {place.Tail} of {place.Head}: {record.Captured} of {record.Length} bytes",
                errno: Errno.EBADMSG);
        place.Record = record;
        place.Next = Math.Min(record.Tsc, ulong.MaxValue - 1);
    }

    private CaptureRingHeader* Header(int ring) =>
        (CaptureRingHeader*)(_rings + (nuint)ring * (CaptureRingHeader.Bytes + Reply.RingBytes));

    private CaptureRecord* Record(int ring, ulong at) =>
        (CaptureRecord*)((byte*)Header(ring) + CaptureRingHeader.Bytes + (nuint)(at & (Reply.RingBytes - 1)));

    private static CapturedQueue[] Describe(ReadOnlySpan<CaptureRingInfo> infos)
    {
        var described = new CapturedQueue[infos.Length];
        for (int i = 0; i < infos.Length; i++)
        {
            CaptureRingInfo info = infos[i];
            described[i] = new(info.Port,
                CaptureRingInfo.Text(new ReadOnlySpan<byte>(info.Name, CaptureRingInfo.NameBytes)),
                MacAddress.Read(new ReadOnlySpan<byte>(info.Mac, 6)), info.LinkBitsPerSecond, info.Queue,
                info.Direction);
        }
        return described;
    }

    private static byte* Map(SafeFileHandle file, nuint bytes, int protection)
    {
        // Of a file that could become shorter, to read is to be killed.
        int seals = Fcntl.fcntl(file, Fcntl.F_GET_SEALS, 0);
        if (seals < 0 || (seals & Fcntl.F_SEAL_SHRINK) == 0)
            throw new DataplaneException("the capture's memory is not sealed", errno: Errno.EBADMSG);
        if (Fcntl.lseek(file, 0, Fcntl.SEEK_END) < (long)bytes)
            throw new DataplaneException("the capture's memory is too small", errno: Errno.EBADMSG);
        void* at = Mman.mmap(null, bytes, protection, Mman.MAP_SHARED, Socket.Fd(file), 0);
        return at != Mman.MAP_FAILED ? (byte*)at : throw NativeException.FromErrno("mapping a capture's memory");
    }

    private static DataplaneException Senseless(int process) =>
        new($"process {process} gave a capture that makes no sense", "it may be of another version",
            errno: Errno.EBADMSG);
}
