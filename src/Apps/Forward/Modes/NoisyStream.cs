using System.Runtime.CompilerServices;

namespace Dataplane.Apps.Forward;

/// <summary>
/// <c>noisy</c>: a network function with a working set and a queue of its own. Reads and writes random places of a
/// buffer for every packet, and may hold packets in a FIFO that it sends on when full or after a time.
/// </summary>
internal sealed class NoisyStream : ForwardStream
{
    private readonly ulong[] _memory;
    private readonly NoisyOptions _options;
    private readonly Mbuf[] _fifo;
    private readonly ulong _flushCycles;
    private ulong _random = 0x9e37_79b9_7f4a_7c15;
    private ulong _lastPush;
    private int _head;
    private int _held;

    public NoisyStream(RxQueue rx, TxQueue tx, StreamTrace trace, NoisyOptions options) : base(rx, tx, trace)
    {
        _options = options;
        _memory = new ulong[Math.Max(((long)options.MemoryMb << 20) / sizeof(ulong), 1)];
        _fifo = new Mbuf[options.BufferPackets];
        _flushCycles = (ulong)(options.FlushMs * (Tsc.Hz / 1000.0));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override bool Step(Span<Mbuf> burst)
    {
        int received = Receive(burst);
        Counters.Received += (uint)received;
        for (int i = 0; i < received; i++)
            Disturb();
        if (_fifo.Length == 0)
        {
            if (received > 0)
                Send(burst[..received]);
            return received > 0;
        }
        if (received > 0)
        {
            _lastPush = Tsc.Read();
            Push(burst[..received]);
        }
        else if (_held > 0 && _flushCycles > 0 && Tsc.Read() - _lastPush >= _flushCycles)
        {
            Pop(Math.Min(_held, burst.Length));
            return true;
        }
        return received > 0;
    }

    public override void Finish()
    {
        while (_held > 0)
            Pop(1);
    }

    /// <summary>Adds packets; as many of the oldest are sent as no longer fit.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Push(Span<Mbuf> packets)
    {
        if (packets.Length > _fifo.Length)
        {
            while (_held > 0)
                Pop(1);
            Send(packets);
            return;
        }
        int over = _held + packets.Length - _fifo.Length;
        if (over > 0)
            Pop(over);
        Trace.Held(packets);
        foreach (Mbuf packet in packets)
        {
            _fifo[(_head + _held) % _fifo.Length] = packet;
            _held++;
        }
        Counters.Held = (uint)_held;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Pop(int count)
    {
        while (count > 0)
        {
            int run = Math.Min(count, _fifo.Length - _head);
            Send(_fifo.AsSpan(_head, run));
            _head = (_head + run) % _fifo.Length;
            _held -= run;
            count -= run;
        }
        Counters.Held = (uint)_held;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Disturb()
    {
        for (int i = 0; i < _options.Reads; i++)
            _random ^= _memory[Index()];
        for (int i = 0; i < _options.Writes; i++)
            _memory[Index()] = _random;
    }

    /// <summary>xorshift64* (Marsaglia 2003), scaled to the buffer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Index()
    {
        _random ^= _random >> 12;
        _random ^= _random << 25;
        _random ^= _random >> 27;
        return (int)((_random * 0x2545_f491_4f6c_dd1d >> 33) % (ulong)_memory.Length);
    }
}
