using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>
/// Gathers packets one by one and sends them on a queue in bursts. What the queue does not take is dropped and
/// counted. Owned by the thread that sends on the queue. Allocates only when it is made.
/// </summary>
/// <param name="queue">Where to send.</param>
/// <param name="size">Packets to gather before a burst is sent, at least 1.</param>
public class TxBuffer(TxQueue queue, int size = 32) : IDisposable
{
    private readonly Mbuf[] _packets = size > 0 ? new Mbuf[size]
        : throw new ConfigException($"a transmit buffer of {size} packets is none", fix: "give it at least 1");
    private int _count;

    /// <summary>Where it sends.</summary>
    public TxQueue Queue { get; } = queue;

    /// <summary>Packets gathered and not yet sent.</summary>
    public int Count => _count;

    /// <summary>Packets the queue did not take, since the buffer was made.</summary>
    public ulong Unsent { get; private set; }

    /// <summary>Takes a packet, which the buffer now owns, and sends the burst when it is full.</summary>
    /// <returns>Packets sent by this call: mostly 0.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Add(Mbuf packet)
    {
        _packets[_count++] = packet;
        return _count < _packets.Length ? 0 : Flush();
    }

    /// <summary>Sends what is there. Call it also when idle, so that no packet waits for others.</summary>
    /// <returns>Packets sent.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Flush()
    {
        ReadOnlySpan<Mbuf> packets = _packets.AsSpan(0, _count);
        if (packets.IsEmpty)
            return 0;
        _count = 0;
        int sent = Queue.TxBurst(packets);
        if (sent < packets.Length)
        {
            Unsent += (uint)(packets.Length - sent);
            OnUnsent(packets[sent..]);
        }
        return sent;
    }

    /// <summary>Frees what was not sent.</summary>
    public void Dispose()
    {
        Mbuf.FreeBulk(_packets.AsSpan(0, _count));
        _count = 0;
        GC.SuppressFinalize(this);
    }

    /// <summary>Gets the packets the queue did not take and owns them; frees them unless overridden. Data
    /// path.</summary>
    protected virtual void OnUnsent(ReadOnlySpan<Mbuf> packets) => Mbuf.FreeBulk(packets);
}
