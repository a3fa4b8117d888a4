using System.Runtime.InteropServices;
using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

/// <summary>Random operations on a ring and on a queue give the same answers.</summary>
public sealed class RingModelTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());

    public void Dispose() => _eal.Dispose();

    private enum Kind { EnqueueBulk, EnqueueBurst, DequeueBulk, DequeueBurst, Enqueue, Dequeue, PeekOut, PeekIn }

    private readonly record struct Op(Kind Kind, int Count);

    private static readonly Gen<(int Capacity, Op[] Ops)> s_runs =
        from capacity in Gen.Choose(1, 70)
        from ops in (from kind in Gen.Elements(Enum.GetValues<Kind>())
                     from count in Gen.Choose(0, 40)
                     select new Op(kind, count)).ArrayOf(200)
        select (capacity, ops);

    [Theory, MemberData(nameof(RingCoreTests.AllModes), MemberType = typeof(RingCoreTests))]
    public void Ring_RandomOperations_AnswersAsAQueue(RingSync producer, RingSync consumer)
    {
        Check<int>(producer, consumer, i => i);
        Check<long>(producer, consumer, i => i);
        Check(producer, consumer, i => new Bytes12(i, ~i, i * 3));
        Check(producer, consumer, i => new Bytes16(i, ~(long)i));
        Check(producer, consumer, i => new Bytes20(i, ~i, i * 3, i * 5, i * 7));
        Check(producer, consumer, i => new Bytes36(new Bytes16(i, i * 3), new Bytes20(i, ~i, i * 3, i * 5, i * 7)));
    }

    private void Check<T>(RingSync producer, RingSync consumer, Func<int, T> make) where T : unmanaged =>
        Prop.ForAll(s_runs.ToArbitrary(), run => Replay(run.Capacity, run.Ops, producer, consumer, make))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(20));

    private void Replay<T>(int capacity, Op[] ops, RingSync producer, RingSync consumer, Func<int, T> make)
        where T : unmanaged
    {
        using Ring<T> ring = Ring<T>.Create(_eal.Memory, "model", capacity, Memory.AnyNode, producer, consumer, true);
        var model = new Queue<T>();
        int made = 0;
        foreach (Op op in ops)
        {
            T[] items = new T[op.Count];
            int room = capacity - model.Count;
            switch (op.Kind)
            {
                case Kind.EnqueueBulk:
                    Make();
                    Assert.Equal(op.Count <= room, ring.TryEnqueueBulk(items));
                    Expect(op.Count <= room ? op.Count : 0);
                    break;
                case Kind.EnqueueBurst:
                    Make();
                    Assert.Equal(Math.Min(op.Count, room), ring.EnqueueBurst(items, out int free));
                    Expect(Math.Min(op.Count, room));
                    Assert.Equal(capacity - model.Count, free);
                    break;
                case Kind.Enqueue:
                    Assert.Equal(room > 0, ring.TryEnqueue(make(++made)));
                    if (room > 0)
                        model.Enqueue(make(made));
                    break;
                case Kind.PeekIn when CanPeek(producer):
                    Make();
                    int claimed = ring.EnqueueBurstStart(op.Count);
                    Assert.Equal(Math.Min(op.Count, room), claimed);
                    ring.EnqueueFinish(items.AsSpan(0, claimed / 2));
                    Expect(claimed / 2);
                    break;
                case Kind.DequeueBulk:
                    bool enough = ring.TryDequeueBulk(items);
                    Assert.Equal(op.Count <= model.Count, enough);
                    Compare(enough ? op.Count : 0);
                    break;
                case Kind.DequeueBurst:
                    int taken = ring.DequeueBurst(items, out int available);
                    Assert.Equal(Math.Min(op.Count, model.Count), taken);
                    Compare(taken);
                    Assert.Equal(model.Count, available);
                    break;
                case Kind.Dequeue:
                    Assert.Equal(model.TryDequeue(out T expected), ring.TryDequeue(out T item));
                    Assert.Equal(expected, item);
                    break;
                case Kind.PeekOut when CanPeek(consumer):
                    int seen = ring.DequeueBurstStart(items);
                    Assert.Equal(Math.Min(op.Count, model.Count), seen);
                    Compare(seen / 2);
                    ring.DequeueFinish(seen / 2);
                    break;
            }
            Assert.Equal(model.Count, ring.Count);

            void Make()
            {
                for (int i = 0; i < items.Length; i++)
                    items[i] = make(++made);
            }

            void Expect(int count)
            {
                foreach (T item in items.AsSpan(0, count))
                    model.Enqueue(item);
            }

            void Compare(int count)
            {
                foreach (T item in items.AsSpan(0, count))
                    Assert.Equal(model.Dequeue(), item);
            }
        }
    }

    private static bool CanPeek(RingSync sync) => sync is RingSync.SingleThread or RingSync.HeadTail;

    [StructLayout(LayoutKind.Sequential)]
    private record struct Bytes12(int A, int B, int C);

    [StructLayout(LayoutKind.Sequential)]
    private record struct Bytes16(long A, long B);

    [StructLayout(LayoutKind.Sequential)]
    private record struct Bytes20(int A, int B, int C, int D, int E);

    [StructLayout(LayoutKind.Sequential, Pack = 4)]
    private record struct Bytes36(Bytes16 A, Bytes20 B);
}
