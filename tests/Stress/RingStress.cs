using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Dataplane.Tests;

/// <summary>
/// Many threads move numbered elements through one small ring; afterwards every element must have come out whole, once
/// and, as each consumer saw it, in its producer's order.
/// </summary>
internal sealed unsafe class RingStress<TProducer, TConsumer> where TProducer : struct, IRingSync
    where TConsumer : struct, IRingSync
{
    private const int Quota = 3_000_000, MaxBurst = 12, IdleTurnsAtEnd = 4;
    private const ulong Share = 1000;   // what each producer must get through
    private static readonly TimeSpan s_hang = TimeSpan.FromSeconds(120);

    private readonly RingHeader* _ring;
    private readonly int _seed, _quota;
    private readonly long _deadline;
    private readonly Element[][] _received;
    private readonly int[] _receivedCount;
    private readonly ulong[] _sent;
    private int _producing;

    private RingStress(RingHeader* ring, int producers, int consumers, int seed, TimeSpan time)
    {
        _ring = ring;
        _seed = seed;
        _quota = Quota / producers;
        _deadline = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
        _received = [.. Enumerable.Range(0, consumers).Select(_ => new Element[Quota + MaxBurst])];
        _receivedCount = new int[consumers];
        _sent = new ulong[producers];
        _producing = producers;
    }

    /// <summary>What an element carries: who sent it, its number, and proof that both were written.</summary>
    private readonly struct Element(int producer, ulong number)
    {
        private const ulong Proof = 0x5bd1e995_a5a5a5a5;
        private readonly ulong _id = ((ulong)producer << 48) | number;
        private readonly ulong _proof = (((ulong)producer << 48) | number) ^ Proof;

        internal int Producer => (int)(_id >> 48);
        internal ulong Number => _id & 0xffff_ffff_ffff;
        internal bool IsWhole => (_id ^ _proof) == Proof;
    }

    /// <summary>Runs and checks.</summary>
    /// <returns>What was wrong, or null.</returns>
    internal static string? Run(int producers, int consumers, RingSync sync, int seed, TimeSpan time)
    {
        var memory = (RingHeader*)NativeMemory.AlignedAlloc(
            RingHeader.BytesFor(32, sizeof(Element)), RingHeader.Separation);
        RingHeader.Init(memory, "stress", 32, sizeof(Element), sync, sync, exactSize: false);
        // Near 2^32, so that the indexes wrap in every run.
        uint start = uint.MaxValue - 20_000;
        foreach (nint side in (nint[])[(nint)(&memory->Producer), (nint)(&memory->Consumer)])
        {
            ((RingSide*)side)->TailWord = sync == RingSync.HeadTail ? ((ulong)start << 32) | start : start;
            ((RingSide*)side)->HeadWord = sync == RingSync.RelaxedTail ? start : ((ulong)start << 32) | start;
        }
        string? wrong = new RingStress<TProducer, TConsumer>(memory, producers, consumers, seed, time).Run();
        if (wrong != "a thread hangs")
            NativeMemory.AlignedFree(memory);
        return wrong;
    }

    private string? Run()
    {
        var threads = new List<Thread>();
        for (int i = 0; i < _sent.Length; i++)
        {
            int producer = i;
            threads.Add(new Thread(() => Produce(producer)) { IsBackground = true });
        }
        for (int i = 0; i < _received.Length; i++)
        {
            int consumer = i;
            threads.Add(new Thread(() => Consume(consumer)) { IsBackground = true });
        }
        threads.ForEach(thread => thread.Start());
        foreach (Thread thread in threads)
            if (!thread.Join(s_hang))
                return "a thread hangs";
        return Check();
    }

    private void Produce(int producer)
    {
        Chaos.Seed(_seed + producer);
        Span<Element> burst = stackalloc Element[MaxBurst];
        ulong sent = 0;
        // Past its time until it has sent its share: a busy machine may not have let it run at all.
        while (sent + MaxBurst < (ulong)_quota && Stopwatch.GetTimestamp() is var now
            && (now < _deadline || (sent <= Share && now < _deadline + 60 * Stopwatch.Frequency)))
        {
            uint count = Chaos.Next() % MaxBurst + 1;
            for (uint i = 0; i < count; i++)
                burst[(int)i] = new Element(producer, sent + i);
            RingClaim claim = (Chaos.Next() & 1) == 0 ? RingClaim.Bulk : RingClaim.Burst;
            uint done = RingCore.Enqueue<TProducer, Element>(_ring, ref burst[0], count, claim, out _);
            sent += done;
            if (done == 0)
                Thread.Yield();
        }
        _sent[producer] = sent;
        Interlocked.Decrement(ref _producing);
    }

    private void Consume(int consumer)
    {
        Chaos.Seed(_seed + 1000 + consumer);
        Element[] received = _received[consumer];
        int count = 0, idle = 0;
        while (count < Quota && idle < IdleTurnsAtEnd)
        {
            bool done = Volatile.Read(ref _producing) == 0;
            uint want = done ? MaxBurst : Chaos.Next() % MaxBurst + 1;
            RingClaim claim = !done && (Chaos.Next() & 1) == 0 ? RingClaim.Bulk : RingClaim.Burst;
            uint got = RingCore.Dequeue<TConsumer, Element>(_ring, ref received[count], want, claim, out _);
            count += (int)got;
            idle = done && got == 0 ? idle + 1 : 0;
            if (got == 0)
                Thread.Yield();
        }
        _receivedCount[consumer] = count;
    }

    private string? Check()
    {
        byte[][] seen = [.. _sent.Select(sent => new byte[sent])];
        for (int consumer = 0; consumer < _received.Length; consumer++)
        {
            long[] last = [.. _sent.Select(_ => -1L)];
            foreach (Element element in _received[consumer].AsSpan(0, _receivedCount[consumer]))
            {
                if (!element.IsWhole || element.Producer >= _sent.Length || element.Number >= _sent[element.Producer])
                    return "element not written whole";
                if (seen[element.Producer][element.Number]++ != 0)
                    return $"element {element.Number} of producer {element.Producer} came twice";
                if ((long)element.Number <= last[element.Producer])
                    return $"element {element.Number} of producer {element.Producer} came late";
                last[element.Producer] = (long)element.Number;
            }
        }
        for (int producer = 0; producer < seen.Length; producer++)
            if (Array.IndexOf(seen[producer], (byte)0) is >= 0 and int lost)
                return $"element {lost} of producer {producer} is lost";
        return _sent.Min() > Share ? null : "a producer got nothing through";
    }
}
