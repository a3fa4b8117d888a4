using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>What is behind the caches: bulk get and put, all or nothing, by a switch on the pool's kind.</summary>
internal static unsafe class MempoolBackend
{
    private static readonly string[] s_names =
        ["ring_mp_mc", "ring_sp_sc", "ring_mp_sc", "ring_sp_mc", "ring_mt_rts", "ring_mt_hts"];

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
    internal static nuint BytesFor(MempoolKind kind, int count) =>
        RingHeader.BytesFor(RingHeader.SlotsFor(count, exactSize: true), sizeof(nint));

    /// <summary>Makes an empty backend in zeroed, 128-aligned memory.</summary>
    internal static void Init(void* backend, MempoolKind kind, string name, int count)
    {
        (RingSync producer, RingSync consumer) = kind switch
        {
            MempoolKind.RingSpSc => (RingSync.SingleThread, RingSync.SingleThread),
            MempoolKind.RingMpSc => (RingSync.MultiThread, RingSync.SingleThread),
            MempoolKind.RingSpMc => (RingSync.SingleThread, RingSync.MultiThread),
            MempoolKind.RingMtRts => (RingSync.RelaxedTail, RingSync.RelaxedTail),
            MempoolKind.RingMtHts => (RingSync.HeadTail, RingSync.HeadTail),
            _ => (RingSync.MultiThread, RingSync.MultiThread),
        };
        RingHeader.Init((RingHeader*)backend, name, count, sizeof(nint), producer, consumer, exactSize: true);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool TryGet(MempoolHeader* pool, ref nint objects, uint count) =>
        RingDispatch.Dequeue((RingHeader*)pool->Backend, ref objects, count, RingClaim.Bulk, out _) != 0;

    /// <returns>False when it is full: more was put than was ever taken.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool TryPut(MempoolHeader* pool, ref nint objects, uint count) =>
        RingDispatch.Enqueue((RingHeader*)pool->Backend, ref objects, count, RingClaim.Bulk, out _) != 0;

    /// <summary>Objects in it.</summary>
    internal static uint Count(MempoolHeader* pool) => RingHeader.Count((RingHeader*)pool->Backend);
}
