using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// One <typeparamref name="T"/> for each lcore, in native memory, on cache lines of its own. Starts zeroed.
/// </summary>
/// <typeparam name="T">Only native memory holds it: no references.</typeparam>
public sealed unsafe class LcoreLocal<T> : IDisposable where T : unmanaged
{
    private const nuint LineBytes = 128;   // two lines: the adjacent-line prefetcher pairs them

    private readonly Memory _memory;
    private readonly nuint _stride = ((nuint)sizeof(T) + LineBytes - 1) & ~(LineBytes - 1);
    private byte* _values;

    /// <summary>Takes memory for all lcore ids. Control path.</summary>
    /// <param name="memory">The environment's.</param>
    /// <exception cref="DataplaneException">Too little memory.</exception>
    public LcoreLocal(Memory memory)
    {
        _memory = memory;
        _values = (byte*)memory.Zmalloc(_stride * Lcore.Max, LineBytes);
    }

    /// <summary>The calling lcore's. Data path.</summary>
    /// <exception cref="InvalidOperationException">The thread is no lcore.</exception>
    public ref T Value
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref this[Lcore.CurrentId];
    }

    /// <summary>
    /// An lcore's, for reading sums and for set-up. Any thread; what races with its owner is the caller's to order.
    /// </summary>
    /// <exception cref="InvalidOperationException">No such id, or disposed.</exception>
    public ref T this[int lcoreId]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if ((uint)lcoreId >= Lcore.Max || _values == null)
                ThrowNoValue(lcoreId, _values == null);
            return ref *(T*)(_values + (nuint)lcoreId * _stride);
        }
    }

    /// <summary>Gives the memory back. No lcore may use it any more.</summary>
    public void Dispose()
    {
        _memory.Free(_values);
        _values = null;
    }

    [DoesNotReturn]
    private static void ThrowNoValue(int lcoreId, bool disposed) => throw new InvalidOperationException(disposed
        ? "these per-lcore values are disposed"
        : lcoreId == Lcore.NoId
            ? "this thread is no lcore: eal.RegisterThread() makes it one"
            : $"there is no lcore {lcoreId}");
}
