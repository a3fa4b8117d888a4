using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>What the kernel counted for a queue over all sockets it has had: a socket's counts end with it. Any
/// thread.</summary>
internal sealed class XdpCounters
{
    private readonly Lock _lock = new();
    private xdp_statistics _earlier;
    private XdpSocket? _socket;

    /// <summary>The queue has a socket from now on.</summary>
    internal void Begin(XdpSocket socket)
    {
        lock (_lock)
            _socket = socket;
    }

    /// <summary>The queue's socket is about to be closed.</summary>
    internal void End()
    {
        lock (_lock)
        {
            _earlier = Sum();
            _socket = null;
        }
    }

    /// <summary>All of them; never less than the time before.</summary>
    internal xdp_statistics Read()
    {
        lock (_lock)
            return Sum();
    }

    private xdp_statistics Sum()
    {
        xdp_statistics now = _socket?.ReadStatistics() ?? default;
        return new xdp_statistics
        {
            rx_dropped = _earlier.rx_dropped + now.rx_dropped,
            rx_invalid_descs = _earlier.rx_invalid_descs + now.rx_invalid_descs,
            tx_invalid_descs = _earlier.tx_invalid_descs + now.tx_invalid_descs,
            rx_ring_full = _earlier.rx_ring_full + now.rx_ring_full,
            rx_fill_ring_empty_descs = _earlier.rx_fill_ring_empty_descs + now.rx_fill_ring_empty_descs,
            tx_ring_empty_descs = _earlier.tx_ring_empty_descs + now.tx_ring_empty_descs,
        };
    }
}
