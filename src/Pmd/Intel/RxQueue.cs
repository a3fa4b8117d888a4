using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// A receive queue of the family. The ring always holds one mbuf per descriptor but for those taken and not replaced
/// yet; mbufs are replaced 32 at a time, and the device is told once for many.
/// </summary>
internal sealed unsafe class IntelRxQueue<TFormat> : RxQueue, IIntelRxRing where TFormat : struct, IRxFormat
{
    private const int Batch = IntelRing.Batch;
    private const uint Four = 4;

    private readonly IQueueDevice _device;
    private readonly Mmio _registers;
    private readonly RwReg32 _tail;
    private readonly Memzone _zone;
    private readonly RxDescriptor* _ring;
    private readonly Mbuf* _mbufs;
    private readonly uint* _types;
    private readonly MbufFlags* _flags;
    private readonly uint _count, _replaceAt;
    private readonly bool _physical, _scatter, _vectors;
    private readonly ulong _toData;          // from an mbuf's header to the address of its data, behind an IOMMU
    private readonly ulong _rearm;
    private readonly MbufFlags _hashFlag, _stampFlag;
    private readonly uint _rare;             // status bits that are EndOfPacket alone in a packet of the usual kind
    private readonly int _stampOffset;
    private uint _next;                      // the descriptor looked at next
    private uint _refill;                    // the first without an mbuf
    private uint _empty;                     // how many have none
    private MbufHeader* _head, _last;        // a packet whose end has not come yet

    internal IntelRxQueue(Port port, IQueueDevice device, int index, Mempool pool, RxQueueConfig config,
        bool restoreTags) : base(port, index, pool)
    {
        _device = device;
        _registers = device.Registers;
        _tail = device.RxTail(index);
        _count = (uint)config.Descriptors;
        _replaceAt = Math.Clamp(_count / 4 / Batch * Batch, Batch, 64);
        DmaContainer container = device.Function.Container;
        _physical = container.IovaMode == IovaMode.Pa;
        _toData = (ulong)sizeof(MbufHeader) + (uint)pool.PrivateBytes + Mbuf.DefaultHeadroom + container.IovaDelta;
        var fresh = new MbufTemplate(Mbuf.DefaultHeadroom, port.Id, 0);
        _rearm = Unsafe.As<MbufTemplate, ulong>(ref fresh);
        _scatter = (config.Offloads & RxOffloads.Scatter) != 0;
        _vectors = IntelRing.UseVectors && Sse41.IsSupported;
        _hashFlag = (config.Offloads & RxOffloads.RssHash) != 0 ? MbufFlags.RxRssHash : 0;
        _rare = RxDescriptor.EndOfPacket | (restoreTags ? RxDescriptor.Vlan : 0);
        if ((config.Offloads & RxOffloads.Timestamp) != 0)
        {
            _rare |= RxDescriptor.Stamped;
            _stampOffset = MbufDynamic.RegisterField<ulong>(port.Eal.Memory, MbufDynamic.TimestampField).Offset;
            _stampFlag = MbufDynamic.RegisterFlag(port.Eal.Memory, MbufDynamic.RxTimestampFlag);
        }
        _zone = port.Eal.Memory.ReserveMemzone($"intel{port.Id}_rx{index}",
            _count * (nuint)(sizeof(RxDescriptor) + sizeof(Mbuf)) + RxDescriptor.FlagIndexes * sizeof(ulong)
            + (nuint)TFormat.Types * sizeof(uint), device.Function.Device.NumaNode, 4096, iovaContiguous: true);
        _ring = (RxDescriptor*)_zone.Address;
        _mbufs = (Mbuf*)(_ring + _count);
        _flags = (MbufFlags*)(_mbufs + _count);
        _types = (uint*)(_flags + RxDescriptor.FlagIndexes);
        for (uint i = 0; i < RxDescriptor.FlagIndexes; i++)
            _flags[i] = FlagsAt(i, config.Offloads, restoreTags);
        for (uint i = 0; i < TFormat.Types; i++)
            _types[i] = TFormat.TypeAt(i);
        _empty = _count;
        RingIova = container.ToIova(_ring).Value;
    }

    /// <inheritdoc/>
    public ulong RingIova { get; }

    /// <inheritdoc/>
    public uint RingBytes => _count * (uint)sizeof(RxDescriptor);

    /// <inheritdoc/>
    public override string BurstMode => _vectors ? "vector, 128 bits" : "scalar, 64 bits at a time";

    /// <inheritdoc/>
    public override int WaitingCount
    {
        get
        {
            int waiting = 0;
            while (waiting < _count && GetDescriptorStatus(waiting) == DescriptorStatus.Done)
                waiting++;
            return waiting;
        }
    }

    /// <inheritdoc/>
    public override SafeFileHandle? InterruptFd => _device.RxVector(Index);

    /// <inheritdoc/>
    public override DescriptorStatus GetDescriptorStatus(int offset)
    {
        if ((uint)offset >= _count - _empty)
            return DescriptorStatus.Unavailable;
        uint at = _next + (uint)offset;
        ulong status = Volatile.Read(ref _ring[at < _count ? at : at - _count].Status);
        return (status & RxDescriptor.Done) != 0 ? DescriptorStatus.Done : DescriptorStatus.WithDevice;
    }

    /// <inheritdoc/>
    public override void EnableInterrupt()
    {
        // One that came after they were disabled: on its way then, or of a packet that was polled since.
        if (_device.RxVector(Index) is SafeFileHandle fd)
            Eventfd.Drain(fd);
        _device.SetRxVector(Index, true);
    }

    /// <inheritdoc/>
    public override void DisableInterrupt()
    {
        _device.SetRxVector(Index, false);
        if (_device.RxVector(Index) is SafeFileHandle fd)
            Eventfd.Drain(fd);
    }

    /// <inheritdoc/>
    public void Arm()
    {
        (_next, _refill, _empty) = (0, 0, _count);
        Replace(tell: false, count: true);
    }

    /// <inheritdoc/>
    public void GiveRing()
    {
        if (_empty < _count)
            _registers.Write(_tail, TailOf(_refill));
    }

    /// <inheritdoc/>
    protected internal override ulong ReadMissed() => _device.ReadMissed(Index);

    /// <inheritdoc/>
    protected internal override void Drain()
    {
        if (_head != null)
            new Mbuf(_head).Free();
        _head = null;
        for (; _empty < _count; _empty++)
        {
            _mbufs[_next].Free();
            _next = _next + 1 == _count ? 0 : _next + 1;
        }
    }

    /// <inheritdoc/>
    protected internal override void Release() => Port.Eal.Memory.FreeMemzone(_zone);

    /// <inheritdoc/>
    protected override int Receive(Span<Mbuf> burst)
    {
        RxDescriptor* ring = _ring;
        ulong rearm = _rearm, bytes = 0;
        int received = _vectors && burst.Length >= Four ? ReceiveFours(burst, ref bytes) : 0;
        uint next = _next, armed = _count - _empty, taken = 0, rare = _rare;
        while (received < burst.Length && taken < armed)
        {
            ulong status = Volatile.Read(ref ring[next].Status);     // I0
            if ((status & RxDescriptor.Done) == 0)
                break;
            ulong info = ring[next].Info;
            Mbuf packet = _mbufs[next];
            MbufHeader* m = packet.Header;
            next = next + 1 == _count ? 0 : next + 1;
            taken++;
            MbufFlags flags = _flags[RxDescriptor.FlagIndex((uint)status)];
            m->RearmData = rearm;
            m->OlFlags = (info & 0xf) != 0 ? flags | _hashFlag : flags;
            ulong length = status >> 32 & 0xffff;
            *(ulong*)&m->PacketType = _types[TFormat.TypeIndex(info, status)] | length << 32;   // and PktLen
            *(ulong*)&m->DataLen = status >> 32 | info >> 32 << 32;                             // and VlanTci, RssHash
            bytes += length;
            if (((uint)status & rare) != RxDescriptor.EndOfPacket || _head != null)
            {
                packet = new Mbuf(TakeRare(m, (uint)status, ref bytes));
                if (packet.IsNull)
                    continue;
            }
            burst[received++] = packet;
        }
        _next = next;
        _empty += taken;
        Stats->Bytes += bytes;
        if (_empty >= _replaceAt)            // also where nothing came: a dry pool may have left the device nothing
            Replace(tell: true, count: received != 0 || taken != 0);
        return received;
    }

    /// <summary>Takes packets by four as long as all four are there and of the usual kind: the same as the loop of
    /// <see cref="Receive"/>, with two stores for each header.</summary>
    /// <returns>How many.</returns>
    private int ReceiveFours(Span<Mbuf> burst, ref ulong bytes)
    {
        const uint Usual = RxDescriptor.Done | RxDescriptor.EndOfPacket;
        uint next = _next, armed = _count - _empty, mask = _rare | RxDescriptor.Done;
        uint most = _head != null ? 0 : Math.Min(Math.Min((uint)burst.Length, armed), _count - next);
        uint received = 0;
        Vector128<ulong> rearm = Vector128.CreateScalar(_rearm);
        // Type (filled in after), packet length, data length, tag, hash: from length at 12, tag at 14, hash at 4.
        Vector128<byte> order = Vector128.Create(0xffff_0d0c_ffff_ffff, 0x0706_0504_0f0e_0d0c).AsByte();
        ulong sum = 0;
        ref Mbuf to = ref MemoryMarshal.GetReference(burst);
        for (; received + Four <= most; received += Four)
        {
            RxDescriptor* d = _ring + next + received;
            ulong s3 = Volatile.Read(ref d[3].Status), s2 = Volatile.Read(ref d[2].Status);        // I0
            ulong s1 = Volatile.Read(ref d[1].Status), s0 = Volatile.Read(ref d[0].Status);
            if (((((uint)s0 ^ Usual) | ((uint)s1 ^ Usual) | ((uint)s2 ^ Usual) | ((uint)s3 ^ Usual)) & mask) != 0)
                break;
            Mbuf* from = _mbufs + next + received;
            Fill(from[0].Header, d, s0, rearm, order);
            Fill(from[1].Header, d + 1, s1, rearm, order);
            Fill(from[2].Header, d + 2, s2, rearm, order);
            Fill(from[3].Header, d + 3, s3, rearm, order);
            sum += (s0 >> 32 & 0xffff) + (s1 >> 32 & 0xffff) + (s2 >> 32 & 0xffff) + (s3 >> 32 & 0xffff);
            Vector256.Load((ulong*)from).StoreUnsafe(ref Unsafe.As<Mbuf, ulong>(ref Unsafe.Add(ref to, received)));
        }
        next += received;
        _next = next == _count ? 0 : next;
        _empty += received;
        bytes += sum;
        return (int)received;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Fill(MbufHeader* m, RxDescriptor* d, ulong status, Vector128<ulong> rearm, Vector128<byte> order)
    {
        Vector128<byte> all = Vector128.Load((byte*)d);
        ulong info = all.AsUInt64().ToScalar();
        MbufFlags flags = _flags[RxDescriptor.FlagIndex((uint)status)];
        flags = (info & 0xf) != 0 ? flags | _hashFlag : flags;
        rearm.WithElement(1, (ulong)flags).Store(&m->RearmData);                                   // and OlFlags
        uint type = _types[TFormat.TypeIndex(info, status)];
        Ssse3.Shuffle(all, order).AsUInt32().WithElement(0, type).Store(&m->PacketType);           // to RssHash
    }

    /// <summary>A descriptor that is no whole packet, or has more to it.</summary>
    /// <returns>The packet, or null while its end has not come.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private MbufHeader* TakeRare(MbufHeader* m, uint status, ref ulong bytes)
    {
        bool end = (status & RxDescriptor.EndOfPacket) != 0;
        MbufHeader* head = m;
        if (_head == null)
            _head = _last = m;
        else
        {
            head = _head;
            _last->Next = m;
            _last = m;
            head->NbSegs++;
            head->PktLen += m->DataLen;
            head->OlFlags = m->OlFlags;      // what the device found out is in the last descriptor
            head->PacketType = m->PacketType;
            head->VlanTci = m->VlanTci;
            head->RssHash = m->RssHash;
        }
        if (!end)
            return null;
        _head = null;
        if (head->NbSegs > 1 && !_scatter)
        {
            bytes -= head->PktLen;           // longer than the MTU allows, where the device does not keep it away
            Stats->Errors++;
            new Mbuf(head).Free();
            return null;
        }
        if ((status & _rare & RxDescriptor.Vlan) != 0)
            bytes += RestoreTag(head);
        if ((status & _rare & RxDescriptor.Stamped) != 0)
            Stamp(head);
        return head;
    }

    /// <summary>Puts a tag back that the device cannot help taking out.</summary>
    private static uint RestoreTag(MbufHeader* m)
    {
        var packet = new Mbuf(m);
        byte* data = packet.Prepend(4);
        *(ulong*)data = *(ulong*)(data + 4);
        *(uint*)(data + 8) = *(uint*)(data + 12);
        data[12] = 0x81;
        data[13] = 0;
        data[14] = (byte)(m->VlanTci >> 8);
        data[15] = (byte)m->VlanTci;
        return 4;
    }

    private void Stamp(MbufHeader* m)
    {
        ulong stamp = _device.ReadStamp();
        if (stamp == 0)
            return;
        *(ulong*)((byte*)m + _stampOffset) = stamp;
        m->OlFlags |= _stampFlag | MbufFlags.RxIeee1588Ptp | MbufFlags.RxIeee1588Timestamp;
    }

    /// <summary>Replaces mbufs that were taken; may tell the device of them, and count those not to be had.</summary>
    private void Replace(bool tell, bool count)
    {
        uint refill = _refill, empty = _empty;
        for (; empty >= Batch; empty -= Batch)
        {
            Mbuf* mbufs = _mbufs + refill;
            RxDescriptor* ring = _ring + refill;
            if (!Pool.TryAllocRawBulk(new Span<Mbuf>(mbufs, Batch)))
            {
                Stats->NoMbuf += count ? Batch : 0ul;
                break;
            }
            if (_physical)
            {
                for (int i = 0; i < Batch; i++)
                    ring[i].Address = mbufs[i].Header->BufIova + Mbuf.DefaultHeadroom;
            }
            else
            {
                for (int i = 0; i < Batch; i++)
                    ring[i].Address = (ulong)mbufs[i].Header + _toData;
            }
            for (int i = 0; i < Batch; i++)
                ring[i].Clear = 0;
            refill = refill + Batch == _count ? 0 : refill + Batch;
        }
        if (refill == _refill && empty == _empty)
            return;
        _refill = refill;
        _empty = empty;
        if (tell)
            _registers.Write(_tail, TailOf(refill));     // I1: after the descriptors
    }

    private uint TailOf(uint refill) => refill == 0 ? _count - 1 : refill - 1;

    private static MbufFlags FlagsAt(uint index, RxOffloads offloads, bool restoreTags)
    {
        uint status = (index & 0x1f) << 2 | (index & 0x60) << 24;
        MbufFlags flags = 0;
        if ((status & RxDescriptor.Vlan) != 0 && (offloads & RxOffloads.VlanStrip) != 0 && !restoreTags)
            flags |= MbufFlags.RxVlan | MbufFlags.RxVlanStripped;
        if ((status & RxDescriptor.IgnoreChecksum) != 0)
            return flags;
        if ((status & RxDescriptor.IpChecked) != 0 && (offloads & RxOffloads.Ipv4Checksum) != 0)
            flags |= (status & RxDescriptor.IpError) != 0 ? MbufFlags.RxIpChecksumBad : MbufFlags.RxIpChecksumGood;
        if ((status & RxDescriptor.L4Checked) != 0
            && (offloads & (RxOffloads.TcpChecksum | RxOffloads.UdpChecksum)) != 0)
            flags |= (status & RxDescriptor.L4Error) != 0 ? MbufFlags.RxL4ChecksumBad : MbufFlags.RxL4ChecksumGood;
        return flags;
    }
}
