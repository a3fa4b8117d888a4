using System.Buffers.Binary;
using Dataplane.Native;
using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Packets and commands.</summary>
internal sealed unsafe partial class ModelDevice
{
    private readonly byte[] _packet = new byte[20 + 70_000];
    private readonly uint[] _ids = new uint[64], _slots = new uint[64], _written = new uint[64];

    internal bool Promiscuous { get; private set; }
    internal bool AllMulticast { get; private set; }
    internal SortedSet<ushort> Vlans { get; } = [];
    internal byte[] MacTable { get; private set; } = [];
    internal byte[] OwnMac { get; private set; } = [];
    internal int PairsInUse { get; private set; }
    internal byte[] RssConfig { get; private set; } = [];

    /// <summary>Answers commands with an error.</summary>
    internal bool Refuses { get; set; }

    /// <summary>Changes a header on its way to the receiver.</summary>
    internal Action<nint>? OnHeader { get; set; }

    /// <summary>The header of the last packet that was sent.</summary>
    internal virtio_net_hdr LastSent { get; private set; }

    private int HeaderBytes => VirtioFeatures.Has(Taken, VirtioNet.VIRTIO_NET_F_HASH_REPORT) ? 20 : 12;

    private bool Merges => VirtioFeatures.Has(Taken, VirtioNet.VIRTIO_NET_F_MRG_RXBUF);

    /// <summary>Copies the packet in hand into buffers of the receiver, if it has enough; finishes it where the
    /// receiver does not want it unfinished.</summary>
    private bool TryDeliver(ModelDevice receiver, int pair)
    {
        int length = (int)_from.ReadableBytes - HeaderBytes, at = 0;
        for (int i = 0; i < _from.Readable; i++)
        {
            new ReadOnlySpan<byte>((byte*)(_from.Address[i] - Delta), (int)_from.Length[i]).CopyTo(_packet.AsSpan(at));
            at += (int)_from.Length[i];
        }
        fixed (byte* packet = _packet)
        {
            var vnet = (virtio_net_hdr*)packet;
            byte* frame = packet + HeaderBytes;
            LastSent = *vnet;
            bool open = (vnet->flags & VirtioNet.VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
            if (open && vnet->gso_type != 0 && !VirtioFeatures.Has(receiver.Taken, VirtioNet.VIRTIO_NET_F_GUEST_TSO4))
                return TryDeliverPieces(receiver, pair, vnet, frame, length);
            if (open && !VirtioFeatures.Has(receiver.Taken, VirtioNet.VIRTIO_NET_F_GUEST_CSUM))
            {
                if (!VnetOffload.TryComplete(vnet, frame, length))
                    throw new InvalidOperationException("driver: a checksum outside its frame");
                *vnet = default;
            }
            return TryPutFrame(receiver, pair, vnet, frame, length);
        }
    }

    private bool TryDeliverPieces(ModelDevice receiver, int pair, virtio_net_hdr* vnet, byte* frame, int length)
    {
        if (!_segmenter.TryBegin(vnet, frame, length))
            throw new InvalidOperationException("driver: a superframe that cannot be cut");
        for (virtio_net_hdr none = default; _segmenter.IsActive; _segmenter.Advance())
        {
            byte* piece = _segmenter.Make(out int bytes);
            if (!TryPutFrame(receiver, pair, &none, piece, bytes))
                throw new InvalidOperationException("a test with too few buffers for what it sends");
        }
        return true;
    }

    private static bool TryPutFrame(ModelDevice receiver, int pair, virtio_net_hdr* vnet, byte* frame, int length)
    {
        var bytes = new ReadOnlySpan<byte>(frame, length);
        uint? hash = receiver.HashOf(bytes);
        int queue = receiver.Steer(hash, pair);
        if (receiver._queues[2 * queue] is not { } rx)
            return false;
        virtio_net_hdr_v1_hash header = default;
        header.hdr = *vnet;
        (header.hash_value, header.hash_report) = (hash ?? 0, (ushort)(hash == null ? 0 : 3));
        receiver.OnHeader?.Invoke((nint)(&header));
        return receiver.TryPut(rx, new Span<byte>(&header, receiver.HeaderBytes), bytes);
    }

    private Segmenter _segmenter;
    private Toeplitz _toeplitz = Toeplitz.Default;

    private int Steer(uint? hash, int pair)
    {
        if (RssConfig.Length == 0 || !_steers)
            return _queues[2 * pair] != null ? pair : 0;
        int mask = BinaryPrimitives.ReadUInt16LittleEndian(RssConfig.AsSpan(4)), at = 6;
        if (hash is { } value)
            at = 8 + 2 * ((int)value & mask);
        return BinaryPrimitives.ReadUInt16LittleEndian(RssConfig.AsSpan(at));
    }

    private bool _steers;

    /// <summary>By the hash types and key the driver gave; null where the packet is none of them. VIRTIO 1.2
    /// §5.1.6.4.3.</summary>
    private uint? HashOf(ReadOnlySpan<byte> frame)
    {
        if (RssConfig.Length == 0)
            return null;
        uint types = BinaryPrimitives.ReadUInt32LittleEndian(RssConfig);
        uint type = PacketParser.Parse(frame, out HeaderLengths h);
        bool v4 = PacketType.IsIpv4(type), v6 = PacketType.IsIpv6(type);
        if (!v4 && !v6)
            return null;
        int kind = (type & PacketType.L4Mask) switch { PacketType.L4Tcp => 1, PacketType.L4Udp => 2, _ => 0 };
        int shift = v4 ? 0 : 3, at = v4 ? h.L2 + 12 : h.L2 + 8, bytes = v4 ? 8 : 32;
        if (kind != 0 && (types >> shift + kind & 1) != 0)
            return _toeplitz.Hash(frame.Slice(at, bytes + 4));   // headers of these tests have no options
        return (types >> shift & 1) != 0 ? _toeplitz.Hash(frame.Slice(at, bytes)) : null;
    }

    private bool TryPut(ModelQueue rx, Span<byte> header, ReadOnlySpan<byte> frame)
    {
        int buffers = 0, done = 0, total = header.Length + frame.Length;
        byte* first = null;
        while (done < total)
        {
            if (buffers == _ids.Length || !rx.TryPop(ref _to))
            {
                Return(rx, buffers);
                return false;
            }
            int room = (int)_to.Length[0], part = Math.Min(room, total - done);
            byte* to = rx.Pointer(_to.Address[0]);
            first = first == null ? to : first;
            (_ids[buffers], _slots[buffers], _written[buffers]) = (_to.Id, _to.Slots, (uint)part);
            buffers++;
            int ofHeader = done == 0 ? header.Length : 0;
            header[..ofHeader].CopyTo(new Span<byte>(to, room));
            frame.Slice(Math.Max(0, done - header.Length), part - ofHeader).CopyTo(new Span<byte>(to + ofHeader,
                room - ofHeader));
            done += part;
            if (!Merges && done < total)
            {
                rx.Push(_to.Id, _to.Slots, (uint)header.Length);   // too long for its buffer: cut to nothing
                return true;
            }
        }
        if (((virtio_net_hdr_v1_hash*)first)->num_buffers == 0)
            ((virtio_net_hdr_v1_hash*)first)->num_buffers = (ushort)buffers;
        for (int i = 0; i < buffers; i++)
        {
            int which = Order == ModelOrder.Backwards && !Merges ? buffers - 1 - i : i;
            rx.Push(_ids[which], _slots[which], _written[which]);
        }
        return true;
    }

    private void Return(ModelQueue rx, int buffers)
    {
        while (buffers-- > 0)
            rx.Unpop(new ModelBuffer { Slots = _slots[buffers] });
    }

    private void RunControl(ModelQueue queue)
    {
        while (queue.TryPop(ref _from))
        {
            var command = new ReadOnlySpan<byte>(queue.Pointer(_from.Address[0]), (int)_from.Length[0]);
            if (_from.Readable != 1 || _from.Writable != 1 || _from.Length[1] != 1)
                throw new InvalidOperationException("driver: a command of another form");
            *queue.Pointer(_from.Address[1]) = Refuses || !Obey(command[0], command[1], command[2..])
                ? VirtioNet.VIRTIO_NET_ERR : VirtioNet.VIRTIO_NET_OK;
            queue.Push(_from.Id, _from.Slots, 1);
            queue.Flush();
        }
        queue.WantNotify(true);
    }

    private bool Obey(byte group, byte command, ReadOnlySpan<byte> data)
    {
        switch (group, command)
        {
            case (VirtioNet.VIRTIO_NET_CTRL_RX, VirtioNet.VIRTIO_NET_CTRL_RX_PROMISC):
                Promiscuous = data[0] != 0;
                return true;
            case (VirtioNet.VIRTIO_NET_CTRL_RX, VirtioNet.VIRTIO_NET_CTRL_RX_ALLMULTI):
                AllMulticast = data[0] != 0;
                return true;
            case (VirtioNet.VIRTIO_NET_CTRL_MAC, VirtioNet.VIRTIO_NET_CTRL_MAC_TABLE_SET):
                MacTable = data.ToArray();
                return true;
            case (VirtioNet.VIRTIO_NET_CTRL_MAC, VirtioNet.VIRTIO_NET_CTRL_MAC_ADDR_SET):
                OwnMac = data.ToArray();
                return data.Length == 6;
            case (VirtioNet.VIRTIO_NET_CTRL_VLAN, VirtioNet.VIRTIO_NET_CTRL_VLAN_ADD):
                return Vlans.Add(BinaryPrimitives.ReadUInt16LittleEndian(data));
            case (VirtioNet.VIRTIO_NET_CTRL_VLAN, VirtioNet.VIRTIO_NET_CTRL_VLAN_DEL):
                return Vlans.Remove(BinaryPrimitives.ReadUInt16LittleEndian(data));
            case (VirtioNet.VIRTIO_NET_CTRL_MQ, VirtioNet.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET):
                PairsInUse = BinaryPrimitives.ReadUInt16LittleEndian(data);
                return PairsInUse is > 0 and <= Pairs;
            case (VirtioNet.VIRTIO_NET_CTRL_MQ, VirtioNet.VIRTIO_NET_CTRL_MQ_RSS_CONFIG):
            case (VirtioNet.VIRTIO_NET_CTRL_MQ, VirtioNet.VIRTIO_NET_CTRL_MQ_HASH_CONFIG):
                RssConfig = data.ToArray();
                _steers = command == VirtioNet.VIRTIO_NET_CTRL_MQ_RSS_CONFIG;
                _toeplitz = new Toeplitz(data[^40..]);
                return true;
            default:
                return false;
        }
    }
}

/// <summary>Virtio ports on model devices, each pair joined back to back.</summary>
internal sealed class ModelDriver(Func<ModelDevice> make) : PortDriver
{
    private readonly List<ModelDevice> _devices = [];

    public override string Name => "net_virtio";

    public override string Help => "none";

    internal IReadOnlyList<ModelDevice> Devices => _devices;

    public override Port Create(PortContext context)
    {
        VirtioOptions options = VirtioOptions.Parse(context.Args);
        ModelDevice device = make();
        device.ConfigSpace[5] = (byte)(_devices.Count + 1);
        if (_devices.Count % 2 == 1)
            (device.Peer, _devices[^1].Peer) = (_devices[^1], device);
        _devices.Add(device);
        return new VirtioPort(context, options, device);
    }
}
