using System.Runtime.CompilerServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Writes packets to a file. Full where the file is a pipe whose reader is behind.</summary>
internal sealed unsafe class PcapFileTxQueue : TxQueue
{
    private readonly PcapPort _port;
    private readonly PcapWriter _writer;
    private readonly bool _keepStamps;
    private readonly ulong _flushCycles, _retryCycles;
    private ulong _flushedAt, _retryAt;

    internal PcapFileTxQueue(PcapPort port, int index, PcapWriter writer) : base(port, index)
    {
        _port = port;
        _writer = writer;
        _keepStamps = port.Options.KeepStamps;
        _flushCycles = Tsc.FromSeconds(port.Options.FlushMs * 1e-3);
        _retryCycles = Tsc.FromSeconds(0.01);
        _flushedAt = Tsc.Read();
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        ulong bytes = 0, cycles = Tsc.Read();
        var now = (ulong)Clock.Nanoseconds(Clock.CLOCK_REALTIME);
        int taken = 0;
        bool full = cycles < _retryAt;
        for (; taken < packets.Length; taken++)
        {
            MbufHeader* mbuf = packets[taken].Header;
            ulong stamp = _keepStamps && (mbuf->OlFlags & _port.StampFlag) != 0
                ? *(ulong*)((byte*)mbuf + _port.Stamp.Offset) : now;
            uint captured = 0;
            byte* target = full ? null : _writer.Add(mbuf->PktLen, stamp, out captured);
            if (target == null)
            {
                full = true;
                if (_writer.Error == Errno.EAGAIN)
                    break;
                Stats->Errors++;
                continue;
            }
            bytes += mbuf->PktLen;
            Copy(mbuf, target, captured);
        }
        if (full && cycles >= _retryAt)
            _retryAt = cycles + _retryCycles;
        else if (!full && _writer.IsDirty && cycles - _flushedAt >= _flushCycles)
            Flush();
        Mbuf.FreeBulk(packets[..taken]);
        Stats->Bytes += bytes;
        return taken;
    }

    /// <inheritdoc/>
    /// <remarks>Packets are freed as they are taken; this writes to the file what is not there yet.</remarks>
    public override int ReclaimTx(int most = 0)
    {
        Flush();
        return 0;
    }

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        if (!_writer.Flush())
            Stats->Missed += (uint)_writer.Cut();
        _retryAt = 0;
    }

    private void Flush()
    {
        _writer.Flush();
        _flushedAt = Tsc.Read();
    }

    /// <summary>Copies a packet's first bytes, over segments.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Copy(MbufHeader* mbuf, byte* target, uint bytes)
    {
        while (true)
        {
            uint part = Math.Min(mbuf->DataLen, bytes);
            Unsafe.CopyBlockUnaligned(target, mbuf->BufAddr + mbuf->DataOff, part);
            target += part;
            bytes -= part;
            mbuf = mbuf->Next;
            if (bytes == 0 || mbuf == null)
                return;
        }
    }
}

/// <summary>Takes and frees every packet: the port has nothing to send to.</summary>
internal sealed unsafe class PcapDropTxQueue(Port port, int index) : TxQueue(port, index)
{
    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        Stats->Missed += (uint)packets.Length;
        Mbuf.FreeBulk(packets);
        return packets.Length;
    }
}

/// <summary>Sends packets on an interface. Full while the kernel's queue is.</summary>
internal sealed unsafe class PcapSocketTxQueue(Port port, int index, PacketSocket socket) : TxQueue(port, index)
{
    private readonly PacketSocket _socket = socket;

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        ulong bytes = 0;
        int taken = 0;
        for (; taken < packets.Length; taken++)
        {
            MbufHeader* mbuf = packets[taken].Header;
            Errno refused = _socket.Send(mbuf);
            if (refused is Errno.EAGAIN or Errno.ENOBUFS)
                break;
            if (refused == Errno.None)
                bytes += mbuf->PktLen;
            else
                Stats->Errors++;
        }
        Mbuf.FreeBulk(packets[..taken]);
        Stats->Bytes += bytes;
        return taken;
    }
}
