using System.Buffers.Binary;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>
/// A virtio network device in this process. It works on the thread that notifies it: what is sent on a transmit queue
/// of one device arrives at the receive queue of that number at its peer, or at itself. Nothing is lost: without a
/// receive buffer a packet waits in the transmit queue.
/// </summary>
internal sealed unsafe partial class ModelDevice : VirtioTransport
{
    internal const int Pairs = 4;
    private const uint LargestBatch = 3;

    /// <summary>All this driver knows.</summary>
    internal static readonly ulong Everything = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1,
        VirtioConfig.VIRTIO_F_ACCESS_PLATFORM, VirtioConfig.VIRTIO_F_RING_PACKED,
        VirtioRing.VIRTIO_RING_F_INDIRECT_DESC, VirtioRing.VIRTIO_RING_F_EVENT_IDX, VirtioNet.VIRTIO_NET_F_CSUM,
        VirtioNet.VIRTIO_NET_F_GUEST_CSUM,
        VirtioNet.VIRTIO_NET_F_MTU, VirtioNet.VIRTIO_NET_F_MAC, VirtioNet.VIRTIO_NET_F_GUEST_TSO4,
        VirtioNet.VIRTIO_NET_F_GUEST_TSO6, VirtioNet.VIRTIO_NET_F_GUEST_ECN, VirtioNet.VIRTIO_NET_F_HOST_TSO4,
        VirtioNet.VIRTIO_NET_F_HOST_TSO6, VirtioNet.VIRTIO_NET_F_HOST_ECN, VirtioNet.VIRTIO_NET_F_MRG_RXBUF,
        VirtioNet.VIRTIO_NET_F_STATUS, VirtioNet.VIRTIO_NET_F_CTRL_VQ, VirtioNet.VIRTIO_NET_F_CTRL_RX,
        VirtioNet.VIRTIO_NET_F_CTRL_VLAN, VirtioNet.VIRTIO_NET_F_MQ, VirtioNet.VIRTIO_NET_F_CTRL_MAC_ADDR,
        VirtioNet.VIRTIO_NET_F_HASH_REPORT, VirtioNet.VIRTIO_NET_F_RSS, VirtioNet.VIRTIO_NET_F_SPEED_DUPLEX);

    private readonly ModelQueue?[] _queues = new ModelQueue?[2 * Pairs];
    private ModelQueue? _control;
    private ModelBuffer _from, _to;
    private byte _status;

    internal ulong Offered { get; set; } = Everything;
    internal ulong Taken { get; private set; }
    internal ulong Delta { get; init; }
    internal int QueueSize { get; init; } = 256;
    internal ModelOrder Order { get; init; }
    internal ModelDevice? Peer { get; set; }
    internal byte[] ConfigSpace { get; } = MakeConfig();
    internal uint Notified { get; private set; }
    internal uint Interrupts { get; private set; }

    /// <summary>Device side of a queue that is enabled: 2n receives, 2n+1 sends.</summary>
    internal ModelQueue? Queue(int index) => _queues[index];

    internal override DmaAddressing Addressing => new(Delta);
    internal override bool NeedsAccessPlatform => true;
    internal override int ConfigBytes => ConfigSpace.Length;
    /// <summary>Pairs beyond the first, and behind them the control queue, are there once they were agreed
    /// on.</summary>
    internal override int QueueCount => ControlIndex + 1;
    internal override int MaxVectors => 0;

    private int ControlIndex => (Taken & VirtioFeatures.Of(VirtioNet.VIRTIO_NET_F_MQ, VirtioNet.VIRTIO_NET_F_RSS)) != 0
        ? 2 * Pairs : 2;

    /// <summary>What the device does with a status written; a test may have it do otherwise.</summary>
    internal Func<byte, byte>? OnStatus { get; set; }

    internal override byte Status
    {
        get => _status;
        set => _status = OnStatus?.Invoke(value) ?? value;
    }

    internal override ulong ToIova(void* pointer) => (ulong)pointer + Delta;

    internal override void Reset()
    {
        _status = 0;
        Taken = 0;
        Array.Clear(_queues);
        _control = null;
        Promiscuous = AllMulticast = false;
        Vlans.Clear();
        RssConfig = [];
    }

    internal override ulong ReadFeatures() => Offered;

    internal override void WriteFeatures(ulong features) => Taken = features;

    internal override void ReadConfig(int offset, Span<byte> bytes) =>
        ConfigSpace.AsSpan(offset, bytes.Length).CopyTo(bytes);

    internal override int MaxQueueSize(int index) => index < QueueCount ? QueueSize : 0;

    internal override void EnableQueue(Virtqueue queue, int vector)
    {
        ModelQueue model = ModelQueue.Of(queue, Delta, Taken);
        if (queue.Index >= QueueCount)
            throw new InvalidOperationException("driver: a queue the device does not have");
        _ = queue.Index == ControlIndex ? _control = model : _queues[queue.Index] = model;
        model.WantNotify(true);
    }

    /// <summary>Moves nothing by itself: a test plays the device.</summary>
    internal bool Silent { get; init; }

    internal override void Notify(Virtqueue queue)
    {
        Notified++;
        if (Silent && queue.Index != ControlIndex)
            return;
        if ((_status & VirtioConfig.VIRTIO_CONFIG_S_DRIVER_OK) == 0)
            throw new InvalidOperationException("driver: notified before DRIVER_OK");
        if (queue.Index == ControlIndex)
            RunControl(_control!);
        else if (queue.Index % 2 == 1)
            Pump(queue.Index / 2);
        else
            for (int pair = 0; pair < Pairs; pair++)    // any of them may have waited for a buffer
                (Peer ?? this).Pump(pair);
    }

    internal override void SetInterrupts(int vectors) { }

    internal override void SetConfigVector(int vector) { }

    internal override SafeFileHandle Vector(int vector) => throw new InvalidOperationException("there are none");

    internal override void AcknowledgeConfig() { }

    public override void Dispose() => Array.Clear(_queues);

    /// <summary>Moves what can be moved from a transmit queue of this device.</summary>
    private void Pump(int pair)
    {
        if (_queues[2 * pair + 1] is not { } tx)
            return;
        ModelDevice receiver = Peer ?? this;
        uint held = 0, heldSlots = 0, lastId = 0;
        while (tx.TryPop(ref _from))
        {
            if (!TryDeliver(receiver, pair))
            {
                tx.Unpop(in _from);
                break;
            }
            if (Order != ModelOrder.Batches)
            {
                tx.Push(_from.Id, _from.Slots, 0);
                continue;
            }
            held++;
            heldSlots += _from.Slots;
            lastId = _from.Id;
            if (held < LargestBatch)
                continue;
            tx.PushBatch(lastId, heldSlots, held, 0);
            held = heldSlots = 0;
        }
        if (held != 0)
            tx.PushBatch(lastId, heldSlots, held, 0);
        tx.Flush();
        tx.WantNotify(true);
        for (int i = 0; i < Pairs; i++)
            if (receiver._queues[2 * i] is { } rx)
            {
                rx.Flush();
                receiver.Interrupts += rx.WantsInterrupt() ? 1u : 0;
                rx.WantNotify(true);
            }
    }

    private static byte[] MakeConfig()
    {
        var bytes = new byte[sizeof(virtio_net_config)];
        MacBytes(1).CopyTo(bytes, 0);
        bytes[6] = 1;                                                        // link up
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8), Pairs);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(10), 9000);    // MTU
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(12), 25_000);  // speed
        bytes[16] = 1;
        bytes[17] = 40;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(18), 128);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(20), 0x3f);
        return bytes;
    }

    internal static byte[] MacBytes(byte last) => [0x52, 0x54, 0, 0x12, 0x34, last];
}
