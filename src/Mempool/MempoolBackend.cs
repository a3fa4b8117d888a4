using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>What is behind the caches: bulk get and put, all or nothing, by a switch on the pool's kind.</summary>
internal static unsafe class MempoolBackend
{
    private static readonly string[] s_names =
        ["ring_mp_mc", "ring_sp_sc", "ring_mp_sc", "ring_sp_mc", "ring_mt_rts", "ring_mt_hts",
            "stack", "lf_stack"];

    /// <summary>The name DPDK gives a kind.</summary>
    internal static string NameOf(MempoolKind kind) => s_names[(int)kind];

    /// <summary>The kind of that name; with none, the ring that the flags ask for.</summary>
    /// <exception cref="ConfigException">There is no such kind.</exception>
    internal static MempoolKind Parse(string? name, MempoolFlags flags)
    {
        if (name == null)
        {
            return (flags & (MempoolFlags.SingleProducerPut | MempoolFlags.SingleConsumerGet)) switch
            {
                MempoolFlags.None => MempoolKind.RingMpMc,
                MempoolFlags.SingleProducerPut => MempoolKind.RingSpMc,
                MempoolFlags.SingleConsumerGet => MempoolKind.RingMpSc,
                _ => MempoolKind.RingSpSc,
            };
        }
        int index = Array.IndexOf(s_names, name);
        if (index >= 0)
            return (MempoolKind)index;
        throw new ConfigException($"there is no mempool handler '{name}'", "the handlers are "
            + string.Join(", ", s_names), "name one of them, or none for ring_mp_mc");
    }

    /// <summary>Bytes the backend of a pool of <paramref name="count"/> objects takes.</summary>
    /// <exception cref="ConfigException">The count is more than it can hold.</exception>
    internal static nuint BytesFor(MempoolKind kind, int count) => kind switch
    {
        MempoolKind.Stack => StackHeader.BytesFor(StackKind.Locked, count),
        MempoolKind.LockFreeStack => StackHeader.BytesFor(StackKind.LockFree, count),
        _ => RingHeader.BytesFor(RingHeader.SlotsFor(CapacityOf(kind, count), exactSize: true), sizeof(nint)),
    };

    // Relaxed tail: a get may return before the tail shows it, so what was just got must fit besides that. The tail
    // is behind by an eighth of the capacity and one get at most, 3/8 + 1 of the objects.
    private static int CapacityOf(MempoolKind kind, int count) =>
        kind == MempoolKind.RingMtRts ? (int)Math.Min(3L * count, RingHeader.MaxSize - 1) : count;

    /// <summary>Makes an empty backend in zeroed, 128-aligned memory.</summary>
    internal static void Init(void* backend, MempoolKind kind, string name, int count)
    {
        switch (kind)
        {
            case MempoolKind.Stack:
                StackHeader.Init((StackHeader*)backend, name, StackKind.Locked, count);
                break;
            case MempoolKind.LockFreeStack:
                StackHeader.Init((StackHeader*)backend, name, StackKind.LockFree, count);
                break;
            default:
                (RingSync producer, RingSync consumer) = SyncOf(kind);
                RingHeader.Init((RingHeader*)backend, name, CapacityOf(kind, count), sizeof(nint), producer, consumer,
                    exactSize: true);
                break;
        }
    }

    /// <summary>Takes objects, all or none. The pool's caches call it, so once in many bursts.</summary>
    internal static bool TryGet(MempoolHeader* pool, ref nint objects, uint count) => pool->Kind switch
    {
        MempoolKind.Stack => LockedStackCore.TryPopBulk((StackHeader*)pool->Backend, ref Words(ref objects), count),
        MempoolKind.LockFreeStack =>
            LockFreeStackCore.TryPopBulk((StackHeader*)pool->Backend, ref Words(ref objects), count),
        _ => RingDispatch.Dequeue((RingHeader*)pool->Backend, ref objects, count, RingClaim.Bulk, out _) != 0,
    };

    /// <summary>Puts objects.</summary>
    /// <returns>False when it is full: more was put than was ever taken.</returns>
    internal static bool TryPut(MempoolHeader* pool, ref nint objects, uint count) => pool->Kind switch
    {
        MempoolKind.Stack => LockedStackCore.TryPushBulk((StackHeader*)pool->Backend, ref Words(ref objects), count),
        MempoolKind.LockFreeStack =>
            LockFreeStackCore.TryPushBulk((StackHeader*)pool->Backend, ref Words(ref objects), count),
        _ => RingDispatch.Enqueue((RingHeader*)pool->Backend, ref objects, count, RingClaim.Bulk, out _) != 0,
    };

    /// <summary>Objects in it; exact while nobody is inside.</summary>
    internal static uint Count(MempoolHeader* pool) => pool->Kind < MempoolKind.Stack
        ? RingHeader.Count((RingHeader*)pool->Backend)
        : (uint)Math.Max(0, Volatile.Read(ref ((StackHeader*)pool->Backend)->Count));

    private static (RingSync Producer, RingSync Consumer) SyncOf(MempoolKind kind) => kind switch
    {
        MempoolKind.RingSpSc => (RingSync.SingleThread, RingSync.SingleThread),
        MempoolKind.RingMpSc => (RingSync.MultiThread, RingSync.SingleThread),
        MempoolKind.RingSpMc => (RingSync.SingleThread, RingSync.MultiThread),
        MempoolKind.RingMtRts => (RingSync.RelaxedTail, RingSync.RelaxedTail),
        MempoolKind.RingMtHts => (RingSync.HeadTail, RingSync.HeadTail),
        _ => (RingSync.MultiThread, RingSync.MultiThread),
    };

    private static ref ulong Words(ref nint objects) => ref Unsafe.As<nint, ulong>(ref objects);
}
