namespace Dataplane.Pmd;

/// <summary>Receives a fresh mbuf of the port's frame length for every one asked for, or none when the pool is
/// short.</summary>
internal sealed unsafe class NullRxQueue : RxQueue
{
    private readonly MbufTemplate _template; // all that a received mbuf needs, written in one store each
    private readonly byte* _dummy;
    private readonly bool _silent;

    internal NullRxQueue(NullPort port, int index, Mempool pool) : base(port, index, pool)
    {
        if (port.FrameBytes > pool.DataRoomBytes - Mbuf.DefaultHeadroom)
            throw new ConfigException($"port {port.Name}: size={port.FrameBytes} does not fit a mbuf of pool "
                + $"'{pool.Name}'", why: $"its data room is {pool.DataRoomBytes} bytes with {Mbuf.DefaultHeadroom} of "
                + $"headroom", fix: $"make the pool with a data room of at least "
                + $"{port.FrameBytes + Mbuf.DefaultHeadroom} bytes");
        _template = new MbufTemplate(Mbuf.DefaultHeadroom, port.Id, (ushort)port.FrameBytes);
        _silent = port.NoRx;
        if (port.Copy)
            _dummy = (byte*)port.Eal.Memory.Zmalloc((nuint)port.FrameBytes);
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        if (_silent)
            return 0;
        if (!Pool.TryAllocBulk(burst, in _template))
        {
            Stats->NoMbuf += (uint)burst.Length;
            return 0;
        }
        if (_dummy != null)
            CopyIn(burst);
        Stats->Bytes += (ulong)_template.DataLen * (uint)burst.Length;
        return burst.Length;
    }

    private void CopyIn(ReadOnlySpan<Mbuf> burst)
    {
        foreach (Mbuf packet in burst)
            Buffer.MemoryCopy(_dummy, packet.DataPointer, _template.DataLen, _template.DataLen);
    }

    /// <inheritdoc/>
    protected internal override void Release() => Port.Eal.Memory.Free(_dummy);
}
