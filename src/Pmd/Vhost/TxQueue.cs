using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>Transmit: packets are copied into buffers of the driver at the other end, and given back at once.</summary>
internal sealed unsafe partial class VhostTxQueue : TxQueue
{
    private const uint OneAndOne = 0x0001_0001;   // RefCnt and NbSegs as one word: NbSegs is the upper half
    private const uint OneBuffer = 1u << 16;          // csum_offset 0, num_buffers 1
    private const int Ahead = 4;

    private readonly bool _fastFree;
    private uint _headerBytes;
    private bool _merge;

    internal VhostTxQueue(VhostPort port, int index, TxQueueConfig config) : base(port, index)
    {
        _fastFree = (config.Offloads & TxOffloads.FastFree) != 0;
        _scratch = (byte*)NativeMemory.Alloc(ScratchBytes);
    }

    /// <summary>Where the ring is while one is there.</summary>
    internal VhostGate Gate { get; } = new();

    /// <inheritdoc/>
    public override DescriptorStatus GetDescriptorStatus(int offset)
    {
        VhostRing? ring = Gate.Enter();
        DescriptorStatus status = ring == null || (uint)offset >= (uint)ring.Size ? DescriptorStatus.Unavailable
            : offset < ring.CountAvailable(offset + 1) ? DescriptorStatus.Done : DescriptorStatus.WithDevice;
        Gate.Leave();
        return status;
    }

    /// <summary>Gives it a ring, or takes it away. Control path.</summary>
    internal void SetRing(VhostRing? ring, ulong features)
    {
        Gate.Set(null);
        _headerBytes = VhostPort.HeaderBytes(features);
        _merge = VirtioFeatures.Has(features, VirtioNet.VIRTIO_NET_F_MRG_RXBUF);
        _guestChecksum = VirtioFeatures.Has(features, VirtioNet.VIRTIO_NET_F_GUEST_CSUM);
        _guestTso = VirtioFeatures.Has(features, VirtioNet.VIRTIO_NET_F_GUEST_TSO4)
            && VirtioFeatures.Has(features, VirtioNet.VIRTIO_NET_F_GUEST_TSO6);
        _guestEcn = VirtioFeatures.Has(features, VirtioNet.VIRTIO_NET_F_GUEST_ECN);
        if (ring != null)
            Gate.Set(ring);
    }

    /// <inheritdoc/>
    protected override int Transmit(ReadOnlySpan<Mbuf> packets)
    {
        VhostRing? ring = Gate.Enter();
        int sent = 0;
        ulong bytes = 0;
        while (ring != null && sent < packets.Length)
        {
            int wanted = Math.Min(VhostRing.Batch, packets.Length - sent);
            int fetched = ring.Fetch(wanted);
            if (fetched == 0)
                break;
            int taken = Put(ring, fetched, packets.Slice(sent, wanted), ref bytes, out int used);
            if (used != 0)
            {
                ring.Commit(used);
                ring.Notify();
            }
            sent += taken;
            if (taken == 0)
            {
                // The first needs more buffers than a burst fetched: all there are, or it waits.
                taken = PutLarge(ring, packets[sent], ref bytes);
                sent += taken;
                if (taken == 0)
                    break;
            }
        }
        Gate.Leave();
        if (sent != 0)
        {
            Stats->Bytes += bytes;
            Free(packets[..sent]);
        }
        return sent;
    }

    /// <inheritdoc/>
    protected internal override void Release()
    {
        Gate.Set(null);
        NativeMemory.Free(_scratch);
    }

    private void Free(ReadOnlySpan<Mbuf> packets)
    {
        if (!_fastFree)
            Mbuf.FreeBulk(packets);
        else
        {
            var pool = (MempoolHeader*)packets[0].Header->Pool;   // one for all, as the application promised
            MempoolCore.Put(pool, MempoolHeader.CurrentCache(pool),
                ref Unsafe.As<Mbuf, nint>(ref MemoryMarshal.GetReference(packets)), (uint)packets.Length);
        }
    }

    /// <summary>Copies packets into buffers.</summary>
    /// <param name="ring">Where the buffers are.</param>
    /// <param name="fetched">How many.</param>
    /// <param name="packets">Neither freed nor counted here, but for errors.</param>
    /// <param name="bytes">Counted on.</param>
    /// <param name="used">Buffers filled.</param>
    /// <returns>Packets done with.</returns>
    private int Put(VhostRing ring, int fetched, ReadOnlySpan<Mbuf> packets, ref ulong bytes, out int used)
    {
        VhostSlot* slots = ring.Slots;
        uint headerBytes = _headerBytes;
        ulong sum = 0;
        int done = 0, slot = 0;
        for (; done < packets.Length && slot < fetched; done++)
        {
            Prefetch(slots, packets, slot + Ahead, done + Ahead, fetched);
            MbufHeader* mbuf = packets[done].Header;
            uint length = mbuf->DataLen;
            byte* to = slots[slot].Host;
            if (to == null || mbuf->NbSegs != 1 || (mbuf->OlFlags & VnetOffload.Requests) != 0
                || length + headerBytes > slots[slot].Length || length < IfPacket.ETH_HLEN)
            {
                int count = PutOdd(ring, slots + slot, fetched - slot, mbuf, ref sum);
                if (count < 0)
                    break;
                slot += count;
                continue;
            }
            // Mostly it says so already: then its line stays in the driver's cache too.
            if (headerBytes == 12)
            {
                if (*(ulong*)to != 0 || *(uint*)(to + 8) != OneBuffer)
                    (*(ulong*)to, *(uint*)(to + 8)) = (0, OneBuffer);
            }
            else if (*(ulong*)to != 0 || *(ushort*)(to + 8) != 0)
                (*(ulong*)to, *(ushort*)(to + 8)) = (0, 0);
            FastCopy.Copy(to + headerBytes, mbuf->BufAddr + mbuf->DataOff, length);
            slots[slot++].Written = length + headerBytes;
            sum += length;
        }
        bytes += sum;
        used = slot;
        return done;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(VhostSlot* slots, ReadOnlySpan<Mbuf> packets, int slot, int packet, int fetched)
    {
        if (!System.Runtime.Intrinsics.X86.Sse.IsSupported || slot >= fetched || packet >= packets.Length)
            return;
        System.Runtime.Intrinsics.X86.Sse.Prefetch0(slots[slot].Host);
        System.Runtime.Intrinsics.X86.Sse.Prefetch0((byte*)packets[packet].Header + sizeof(MbufHeader)
            + Mbuf.DefaultHeadroom);
    }
}
