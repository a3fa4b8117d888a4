namespace Dataplane.Pmd;

/// <summary>Receives a fresh mbuf of the port's frame length for every one asked for, or none when the pool is short.</summary>
internal sealed unsafe class NullRxQueue : RxQueue
{
    private readonly byte* _dummy;
    private readonly ushort _frameBytes;
    private readonly ushort _portId;
    private readonly bool _silent;

    internal NullRxQueue(NullPort port, int index, Mempool pool) : base(port, index, pool)
    {
        if (port.FrameBytes > pool.DataRoomBytes - Mbuf.DefaultHeadroom)
            throw new ConfigException($"port {port.Name}: size={port.FrameBytes} does not fit a mbuf of pool '{pool.Name}'",
                why: $"its data room is {pool.DataRoomBytes} bytes with {Mbuf.DefaultHeadroom} of headroom",
                fix: $"make the pool with a data room of at least {port.FrameBytes + Mbuf.DefaultHeadroom} bytes");
        _frameBytes = (ushort)port.FrameBytes;
        _portId = port.Id;
        _silent = port.NoRx;
        if (port.Copy)
            _dummy = (byte*)port.Eal.Memory.Zmalloc(_frameBytes);
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        if (_silent)
            return 0;
        if (!Pool.TryAllocBulk(burst))
        {
            Stats->NoMbuf += (uint)burst.Length;
            return 0;
        }
        uint length = _frameBytes;
        foreach (Mbuf packet in burst)
        {
            packet.Header->PktLen = length;
            packet.Header->DataLen = (ushort)length;
            packet.Header->Port = _portId;
        }
        if (_dummy != null)
            CopyIn(burst);
        Stats->Bytes += length * (uint)burst.Length;
        return burst.Length;
    }

    private void CopyIn(ReadOnlySpan<Mbuf> burst)
    {
        foreach (Mbuf packet in burst)
            Buffer.MemoryCopy(_dummy, packet.DataPointer, _frameBytes, _frameBytes);
    }

    /// <inheritdoc/>
    protected internal override void Release() => Port.Eal.Memory.Free(_dummy);
}
