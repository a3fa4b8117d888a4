using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// Follows packets through the application: when each was received, by which stages it went and where it was sent, or
/// why it was dropped. Started and read over telemetry (<c>dpctl trace</c>). While none runs it costs nothing: receipt
/// and sending are seen by callbacks that are not there then, and <see cref="IsOn"/> is one predicted branch.
/// </summary>
/// <remarks>
/// Receiving and sending are seen without the application's help. What else it does to a packet it can tell:
/// <see cref="Stage"/> on the way, <see cref="Drop"/> before it frees one. A packet goes with its mbuf, also from lcore
/// to lcore; a copy is not followed.
/// </remarks>
public sealed partial class PacketTrace
{
    private bool _isOn;
    private TraceSession? _session;

    /// <summary>Packets are being followed. Data path.</summary>
    public bool IsOn
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Volatile.Read(ref _isOn);
    }

    /// <summary>Notes that packets came to a stage. Does nothing for those that are not followed. Data path; the
    /// packets' owner.</summary>
    /// <param name="packets">They stay the caller's.</param>
    /// <param name="name">Of <see cref="AddName"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Stage(ReadOnlySpan<Mbuf> packets, int name)
    {
        if (IsOn)
            Note(packets, name, ends: false);
    }

    /// <summary>Notes that packets end here and why. Call it before they are freed. Data path; the packets'
    /// owner.</summary>
    /// <param name="packets">They stay the caller's, who frees them.</param>
    /// <param name="reason">Of <see cref="AddName"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Drop(ReadOnlySpan<Mbuf> packets, int reason)
    {
        if (IsOn)
            Note(packets, reason, ends: true);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Note(ReadOnlySpan<Mbuf> packets, int name, bool ends)
    {
        if (Volatile.Read(ref _session) is not { } session)
            return;
        ulong now = Tsc.Read();
        foreach (Mbuf packet in packets)
        {
            if (session.Find(packet) is not { } record)
                continue;
            if (ends)
                packet.Flags &= ~session.Flag;
            record.Add(name, now, MbufHeader.NoPort, 0, ends ? TraceEnd.Dropped : TraceEnd.Open);
        }
    }
}

/// <summary>What became of a packet.</summary>
internal enum TraceEnd
{
    /// <summary>Not known yet.</summary>
    Open,
    /// <summary>A transmit queue has it.</summary>
    Sent,
    /// <summary>The application freed it.</summary>
    Dropped,
}

/// <summary>One thing that happened to a packet.</summary>
internal readonly record struct TraceEvent(int Name, ulong Cycles, ushort Port, ushort Queue);

/// <summary>
/// One packet's way. Written by the packet's owner, one thread at a time (who hands the mbuf on hands this on with it);
/// read by the telemetry thread.
/// </summary>
internal sealed class TraceRecord
{
    internal const int MaxEvents = 12, MaxHeaderBytes = 60;

    private readonly TraceEvent[] _events = new TraceEvent[MaxEvents];
    private readonly byte[] _header = new byte[MaxHeaderBytes];
    private int _headerBytes, _count, _end;

    internal int Length { get; private set; }

    internal int Lcore { get; private set; }

    internal ReadOnlySpan<byte> Header => _header.AsSpan(0, _headerBytes);

    // Q1: pairs with Q0 in Add: who sees a number of events sees them whole.
    internal ReadOnlySpan<TraceEvent> Events => _events.AsSpan(0, Volatile.Read(ref _count));

    // Q3: pairs with Q2 in Add: who sees the end sees all events.
    internal TraceEnd End => (TraceEnd)Volatile.Read(ref _end);

    internal void Begin(Mbuf packet, ulong now, ushort port, ushort queue)
    {
        ReadOnlySpan<byte> data = packet.Data;
        _headerBytes = Math.Min(data.Length, MaxHeaderBytes);
        data[.._headerBytes].CopyTo(_header);
        Length = packet.PacketLength;
        Lcore = Dataplane.Lcore.CurrentId;
        Add(PacketTrace.Received, now, port, queue, TraceEnd.Open);
    }

    /// <summary>Adds an event. Where there is no room the last place is written over: the end is what counts.</summary>
    internal void Add(int name, ulong now, ushort port, ushort queue, TraceEnd end)
    {
        int at = Math.Min(_count, MaxEvents - 1);
        _events[at] = new TraceEvent(name, now, port, queue);
        Volatile.Write(ref _count, at + 1);     // Q0
        Volatile.Write(ref _end, (int)end);     // Q2
    }
}

/// <summary>One order to follow packets: all memory it will need, and the callbacks that see them.</summary>
internal sealed class TraceSession
{
    private const int SlotBits = 16;

    private readonly TraceRecord[] _records;
    private readonly MbufField<uint> _field;
    private readonly uint _tag;
    private int _taken;

    internal TraceSession(int id, int wanted, MbufField<uint> field, MbufFlags flag)
    {
        (Id, _field, Flag, _tag) = (id, field, flag, (uint)id << SlotBits);
        _records = new TraceRecord[wanted];
        for (int i = 0; i < wanted; i++)
            _records[i] = new TraceRecord();
    }

    internal int Id { get; }

    internal MbufFlags Flag { get; }

    internal int Wanted => _records.Length;

    /// <summary>Packets met so far, at most as many as are wanted.</summary>
    internal int Taken => Math.Min(Volatile.Read(ref _taken), Wanted);

    internal TraceRecord this[int index] => _records[index];

    /// <summary>Follows a packet from now on.</summary>
    /// <returns>False when there are enough.</returns>
    internal bool TryFollow(Mbuf packet, ulong now, RxQueue queue)
    {
        int slot = Interlocked.Increment(ref _taken) - 1;
        if (slot >= Wanted)
            return false;
        _field.Of(packet) = _tag | (uint)slot;
        packet.Flags |= Flag;
        _records[slot].Begin(packet, now, queue.Port.Id, (ushort)queue.Index);
        return true;
    }

    /// <summary>The record of a packet; null where it is not followed, or was by an earlier order.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal TraceRecord? Find(Mbuf packet)
    {
        if ((packet.Flags & Flag) == 0)
            return null;
        uint slot = _field.Of(packet) ^ _tag;
        return slot < (uint)_records.Length ? _records[slot] : null;
    }
}

/// <summary>Picks packets to follow where they are received, at one queue.</summary>
internal sealed unsafe class TraceReceiver(TraceSession session, PacketFilter? filter) : RxCallback
{
    private readonly PacketVerdict[] _verdicts = new PacketVerdict[filter == null ? 0 : 64];
    private readonly byte[] _window = new byte[filter == null ? 0 : PacketFilter.WindowBytes];

    public override int OnReceived(RxQueue queue, Span<Mbuf> burst, int received)
    {
        if (session.Taken == session.Wanted)
            return received;
        ulong now = Tsc.Read();
        if (filter != null)
        {
            for (int from = 0; from < received && Pick(queue, burst[from..received], now); from += _verdicts.Length)
            {
            }
            return received;
        }
        for (int i = 0; i < received && session.TryFollow(burst[i], now, queue); i++)
        {
        }
        return received;
    }

    /// <summary>Follows those the filter takes, of the first there are verdicts for.</summary>
    /// <returns>False when there are enough.</returns>
    internal bool Pick(RxQueue queue, ReadOnlySpan<Mbuf> packets, ulong now)
    {
        packets = packets[..Math.Min(packets.Length, _verdicts.Length)];
        int count;
        fixed (byte* window = _window)
            count = filter!.Run(packets, _verdicts, window);
        for (int i = 0; i < count; i++)
            if (!session.TryFollow(packets[(int)_verdicts[i].Place], now, queue))
                return false;
        return true;
    }
}

/// <summary>Sees the followed packets at one transmit queue, before and after the driver has had them.</summary>
internal sealed class TraceSender(TraceSession session) : TxCallback
{
    private readonly int[] _places = new int[session.Wanted];
    private readonly TraceRecord[] _records = new TraceRecord[session.Wanted];
    private int _count;

    public override void OnOffered(TxQueue queue, ReadOnlySpan<Mbuf> packets)
    {
        _count = 0;
        ulong now = Tsc.Read();
        for (int i = 0; i < packets.Length && _count < _places.Length; i++)
        {
            if (session.Find(packets[i]) is not { } record)
                continue;
            record.Add(PacketTrace.Offered, now, queue.Port.Id, (ushort)queue.Index, TraceEnd.Open);
            packets[i].Flags &= ~session.Flag;      // afterwards it may be the driver's, or freed
            (_places[_count], _records[_count]) = (i, record);
            _count++;
        }
    }

    public override void OnTaken(TxQueue queue, ReadOnlySpan<Mbuf> packets, int taken)
    {
        if (_count == 0)
            return;
        ulong now = Tsc.Read();
        for (int i = 0; i < _count; i++)
        {
            bool isTaken = _places[i] < taken;
            if (!isTaken)
                packets[_places[i]].Flags |= session.Flag;
            _records[i].Add(isTaken ? PacketTrace.Sent : PacketTrace.Refused, now, queue.Port.Id, (ushort)queue.Index,
                isTaken ? TraceEnd.Sent : TraceEnd.Open);
        }
        _count = 0;
    }
}
