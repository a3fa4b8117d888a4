using System.Runtime.CompilerServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>Receive: what the driver at the other end sends is copied into mbufs.</summary>
/// <remarks>Most packets are one descriptor with a header that says nothing: those are copied in one loop, with the
/// next ones' memory on its way. The rest goes one by one through <see cref="TakeOdd"/>.</remarks>
internal sealed unsafe partial class VhostRxQueue : RxQueue
{
    private const int Ahead = 4;   // packets whose memory is fetched before they are copied

    private readonly bool _strip, _whole, _chain;
    private readonly uint _room;
    private readonly ulong _rearm;                 // MbufHeader.RearmData of a received packet
    private readonly SafeFileHandle? _interrupts, _wake;    // a set of the kick and an eventfd of our own
    private SafeFileHandle? _kick;
    private uint _headerBytes;
    private bool _asks;       // headers may ask for something
    private bool _armed;

    internal VhostRxQueue(VhostPort port, int index, Mempool pool, RxQueueConfig config) : base(port, index, pool)
    {
        _strip = (config.Offloads & RxOffloads.VlanStrip) != 0;
        _whole = (config.Offloads & RxOffloads.TcpLro) != 0;
        _chain = (config.Offloads & (RxOffloads.TcpLro | RxOffloads.Scatter)) != 0;
        _room = (uint)(pool.DataRoomBytes - Mbuf.DefaultHeadroom);
        _rearm = (uint)Mbuf.DefaultHeadroom | 1ul << 16 | 1ul << 32 | (ulong)port.Id << 48;
        if (port.Config.RxInterrupts)
        {
            (_interrupts, _wake) = (Epoll.Create(), Eventfd.Create());
            Epoll.Add(_interrupts, _wake, 0);
            Epoll.MakeEdge(_interrupts, _wake, 0);
            DrainInterrupts();   // the first call takes managed memory: not on the lcore
        }
    }

    /// <summary>Where the ring is while one is there.</summary>
    internal VhostGate Gate { get; } = new();

    /// <inheritdoc/>
    /// <remarks>Telemetry asks while the queue's thread may be in a burst: nothing is entered.</remarks>
    public override string BurstMode => Gate.Ring is PackedVhostRing ? "packed" : "split";

    /// <inheritdoc/>
    public override int WaitingCount
    {
        get
        {
            VhostRing? ring = Gate.Enter();
            int count = ring?.CountAvailable(ring.Size) ?? 0;
            Gate.Leave();
            return count;
        }
    }

    /// <inheritdoc/>
    /// <remarks>A set that the peer's eventfd is in, whichever that is just now.</remarks>
    public override SafeFileHandle? InterruptFd => _interrupts;

    /// <inheritdoc/>
    public override DescriptorStatus GetDescriptorStatus(int offset)
    {
        VhostRing? ring = Gate.Enter();
        DescriptorStatus status = ring == null || (uint)offset >= (uint)ring.Size ? DescriptorStatus.Unavailable
            : offset < ring.CountAvailable(offset + 1) ? DescriptorStatus.Done : DescriptorStatus.WithDevice;
        Gate.Leave();
        return status;
    }

    /// <inheritdoc/>
    public override void EnableInterrupt()
    {
        DrainInterrupts();
        Volatile.Write(ref _armed, true);
        VhostRing? ring = Gate.Enter();
        ring?.AskForKick(true);
        Gate.Leave();
    }

    /// <inheritdoc/>
    public override void DisableInterrupt()
    {
        Volatile.Write(ref _armed, false);
        VhostRing? ring = Gate.Enter();
        ring?.AskForKick(false);
        Gate.Leave();
        DrainInterrupts();
    }

    /// <summary>Gives it a ring, or takes it away. Control path.</summary>
    internal void SetRing(VhostRing? ring, ulong features, SafeFileHandle? kick)
    {
        Gate.Set(null);
        if (_kick != null && _interrupts != null)
            Epoll.Remove(_interrupts, _kick);
        _kick = ring == null ? null : kick;
        _headerBytes = VhostPort.HeaderBytes(features);
        // Without it the driver must ask for nothing (§5.1.6.2.1), and its headers are not looked at: each is a line
        // that only its own CPU needs then.
        _asks = VirtioFeatures.Has(features, VirtioNet.VIRTIO_NET_F_CSUM);
        if (ring == null)
            return;
        if (_kick != null && _interrupts != null)
        {
            Epoll.Add(_interrupts, _kick, 1);
            Epoll.MakeEdge(_interrupts, _kick, 1);
        }
        if (Volatile.Read(ref _armed))
            ring.AskForKick(true);
        Gate.Set(ring);
        if (_wake != null)
            Eventfd.Signal(_wake);   // whoever sleeps looks at what is in it
    }

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        VhostRing? ring = Gate.Enter();
        int received = 0;
        while (ring != null && received < burst.Length)
        {
            int wanted = Math.Min(VhostRing.Batch, burst.Length - received);
            int fetched = ring.Fetch(wanted), done = 0;
            if (fetched != 0)
                received += Take(ring, fetched, burst[received..], out done);
            if (done != 0)
            {
                ring.Commit(done);
                ring.Notify();
            }
            if (done < wanted)
                break;
        }
        Gate.Leave();
        return received;
    }

    /// <inheritdoc/>
    protected internal override void Release()
    {
        Gate.Set(null);
        _interrupts?.Dispose();
        _wake?.Dispose();
    }

    private void DrainInterrupts()
    {
        Span<epoll_event> ready = stackalloc epoll_event[2];
        if (_interrupts != null)
            Epoll.Wait(_interrupts, ready, 0);
    }

    /// <summary>Makes packets of buffers.</summary>
    /// <param name="ring">Where they are.</param>
    /// <param name="fetched">How many.</param>
    /// <param name="burst">Where packets go; as long at least.</param>
    /// <param name="done">Buffers to be given back.</param>
    /// <returns>How many packets.</returns>
    [SkipLocalsInit]
    private int Take(VhostRing ring, int fetched, Span<Mbuf> burst, out int done)
    {
        Span<Mbuf> mbufs = burst[..fetched];
        while (!Pool.TryAllocRawBulk(mbufs))
        {
            if (mbufs.Length == 1)
            {
                Stats->NoMbuf++;   // the buffers stay where they are
                done = 0;
                return 0;
            }
            mbufs = mbufs[..(mbufs.Length / 2)];
        }
        VhostSlot* slots = ring.Slots;
        uint headerBytes = _headerBytes, least = headerBytes + IfPacket.ETH_HLEN, most = headerBytes + _room;
        uint before = _asks ? 0 : headerBytes;   // of a packet, what is not read
        ulong bytes = 0, rearm = _rearm;
        int taken = 0, i = 0;
        Prefetch(slots, mbufs, before, 0, Math.Min(Ahead, mbufs.Length));
        for (; i < mbufs.Length; i++)
        {
            if (i + Ahead < mbufs.Length)
                Prefetch(slots, mbufs, before, i + Ahead, i + Ahead + 1);
            VhostSlot* slot = slots + i;
            slot->Written = 0;
            MbufHeader* mbuf = mbufs[i].Header;
            byte* from = slot->Host;
            if (from == null || slot->Length - least > most - least || _strip || (_asks && *(ushort*)from != 0))
            {
                Outcome outcome = TakeOdd(ring, slot, mbuf);
                if (outcome == Outcome.Stopped)
                    break;
                if (outcome == Outcome.Bad)
                {
                    Stats->Errors++;
                    new Mbuf(mbuf).Free();
                    continue;
                }
                bytes += mbuf->PktLen;
                mbufs[taken++] = new Mbuf(mbuf);
                continue;
            }
            uint length = slot->Length - headerBytes;
            ulong* header = &mbuf->RearmData;
            header[0] = rearm;
            header[1] = 0;
            header[2] = (ulong)length << 32;
            header[3] = length;
            FastCopy.Copy(mbuf->BufAddr + Mbuf.DefaultHeadroom, from + headerBytes, length);
            bytes += length;
            mbufs[taken++] = new Mbuf(mbuf);
        }
        done = i;
        if (i < mbufs.Length)
            Mbuf.FreeBulk(mbufs[i..]);
        Stats->Bytes += bytes;
        return taken;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(VhostSlot* slots, ReadOnlySpan<Mbuf> mbufs, uint before, int from, int to)
    {
        if (!System.Runtime.Intrinsics.X86.Sse.IsSupported)
            return;
        for (int i = from; i < to; i++)
        {
            System.Runtime.Intrinsics.X86.Sse.Prefetch0(slots[i].Host + before);
            System.Runtime.Intrinsics.X86.Sse.Prefetch0((byte*)mbufs[i].Header + sizeof(MbufHeader)
                + Mbuf.DefaultHeadroom);
        }
    }
}
