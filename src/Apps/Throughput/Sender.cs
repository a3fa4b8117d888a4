using Dataplane.Net;

namespace Dataplane.Apps.Throughput;

/// <summary>Sends numbered, stamped packets at a rate. Polled by one lcore.</summary>
internal sealed class Sender(TxQueue tx, Mempool pool, PacketTemplate[] frames)
{
    private ushort _trial;
    private ulong _start, _end, _cycles;
    private double _packetsPerCycle;
    private int _frame;
    private volatile bool _running;

    /// <summary>Packets the port took in this trial.</summary>
    public ulong Sent { get; private set; }

    /// <summary>Their bytes, check sequence not counted.</summary>
    public ulong SentBytes { get; private set; }

    /// <summary>Packets the pool or the port had no room for when they were due. They were sent later, or
    /// never.</summary>
    public ulong Blocked { get; private set; }

    /// <summary>True from <see cref="Begin"/> until the trial's time is over.</summary>
    public bool IsRunning => _running;

    /// <summary>Starts a trial. From any thread, while none runs.</summary>
    /// <param name="trial">Its number.</param>
    /// <param name="packetsPerSecond">Rate; infinity for as fast as it goes.</param>
    /// <param name="seconds">How long.</param>
    public void Begin(ushort trial, double packetsPerSecond, double seconds)
    {
        (_trial, Sent, SentBytes, Blocked, _frame) = (trial, 0, 0, 0, 0);
        _packetsPerCycle = packetsPerSecond / Tsc.Hz;
        (_start, _cycles) = (0, Tsc.FromSeconds(seconds));
        _running = true;
    }

    /// <summary>Ends the trial early.</summary>
    public void Abort() => _running = false;

    /// <summary>Sends what is due, at most a burst.</summary>
    public bool Step(Span<Mbuf> burst)
    {
        if (!_running)
            return false;
        ulong now = Tsc.Read();
        if (_start == 0)
            (_start, _end) = (now, now + _cycles);   // when this lcore comes to it, not when it was told
        if (now >= _end)
        {
            _running = false;
            return false;
        }
        double due = double.IsPositiveInfinity(_packetsPerCycle) ? burst.Length
            : (now - _start) * _packetsPerCycle + 1 - Sent;   // the first is due at once
        int count = Math.Min((int)due, burst.Length);
        if (count <= 0)
            return false;
        if (!pool.TryAllocBulk(burst[..count]))
        {
            Blocked += (uint)count;
            return false;
        }
        ulong sequence = Sent;
        int frame = _frame;
        foreach (Mbuf packet in burst[..count])
        {
            Fill(packet, frames[frame], sequence++, now);
            frame = frame + 1 == frames.Length ? 0 : frame + 1;
        }
        int sent = tx.TxBurst(burst[..count]);
        Account(sent);
        if (sent < count)
        {
            Mbuf.FreeBulk(burst[sent..count]);   // their numbers are used again
            Blocked += (uint)(count - sent);
        }
        return true;
    }

    private void Account(int sent)
    {
        Sent += (uint)sent;
        for (int i = 0; i < sent; i++)
        {
            SentBytes += (uint)frames[_frame].Length;
            _frame = _frame + 1 == frames.Length ? 0 : _frame + 1;
        }
    }

    private void Fill(Mbuf packet, PacketTemplate frame, ulong sequence, ulong now)
    {
        packet.TrySetLength(frame.Length);
        Span<byte> data = packet.Data;
        frame.CopyTo(data);
        data.HeaderAt<Stamp>(Stamp.Offset) = new Stamp { Trial = _trial, Sequence = sequence, SentAt = now };
    }
}
