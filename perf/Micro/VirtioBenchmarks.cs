using BenchmarkDotNet.Attributes;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Perf;

/// <summary>
/// What a virtio port costs by itself: its device is in the same thread and does the least a device can, giving each
/// buffer back as it is. One operation is a burst of 32 received and sent on.
/// </summary>
public unsafe class VirtioBenchmarks
{
    private const int Burst = 32;
    private readonly Mbuf[] _burst = new Mbuf[Burst];
    private Eal _eal = null!;
    private Mempool _pool = null!;
    private VirtioPort _port = null!;
    private MirrorDevice _device = null!;
    private RxQueue _rx = null!;
    private TxQueue _tx = null!;

    [Params(false, true)]
    public bool Packed { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _eal = Eal.Initialize(new EalOptions { NoPci = true });
        _pool = Mempool.CreateMbufPool(_eal.Memory, "virtio", 8191, cacheSize: 250);
        var context = new PortContext(_eal, DevArgs.Parse("net_virtio0"), 0);
        _device = new MirrorDevice(Packed);
        _port = new VirtioPort(context, VirtioOptions.Parse(context.Args), _device);
        _port.Start(new PortConfig { TxOffloads = TxOffloads.FastFree }, _pool);
        (_rx, _tx) = (_port.RxQueues[0], _port.TxQueues[0]);
        _ = _eal.RegisterThread();
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _eal.UnregisterThread();
        _port.Dispose();
        _pool.Dispose();
        _eal.Dispose();
    }

    [Benchmark]
    public int ForwardBurst()
    {
        _device.Receive(Burst);
        int received = _rx.RxBurst(_burst);
        int sent = _tx.TxBurst(_burst.AsSpan(0, received));
        _device.Send();
        return sent;
    }

    /// <summary>Gives buffers back in order, without a look at what is in them; asks for no notification.</summary>
    private sealed class MirrorDevice(bool packed) : VirtioTransport
    {
        private const ushort Both = 1 << 7 | 1 << 15;
        private const int Size = 256;
        private readonly Side[] _sides = new Side[2];

        private struct Side
        {
            internal byte* Ring, Device, Driver;
            internal uint Used;
            internal ushort Flags;
        }

        internal override DmaAddressing Addressing => default;
        internal override bool NeedsAccessPlatform => false;
        internal override byte Status { get; set; }
        internal override int ConfigBytes => 24;
        internal override int QueueCount => 2;
        internal override int MaxVectors => 0;

        internal override ulong ToIova(void* pointer) => (ulong)pointer;

        internal override void Reset() => Status = 0;

        internal override ulong ReadFeatures() => VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1)
            | (packed ? VirtioFeatures.Of(VirtioConfig.VIRTIO_F_RING_PACKED) : 0);

        internal override void WriteFeatures(ulong features) { }

        internal override void ReadConfig(int offset, Span<byte> bytes) => bytes.Clear();

        internal override int MaxQueueSize(int index) => index < 2 ? Size : 0;

        internal override void EnableQueue(Virtqueue queue, int vector)
        {
            _sides[queue.Index] = new Side
            {
                Ring = queue.Memory,
                Driver = queue.Memory + queue.Layout.DriverOffset,
                Device = queue.Memory + queue.Layout.DeviceOffset,
                Flags = Both,
            };
            // No notifications: packed and split say so at the same place of their device areas, but for the field.
            *(uint*)(queue.Memory + queue.Layout.DeviceOffset) = queue.Layout.Packed ? 1u << 16 : 1;
        }

        internal override void Notify(Virtqueue queue) { }

        internal override void SetInterrupts(int vectors) { }

        internal override void SetConfigVector(int vector) { }

        internal override SafeFileHandle Vector(int vector) => throw new InvalidOperationException("there are none");

        internal override void AcknowledgeConfig() { }

        public override void Dispose() { }

        internal void Receive(uint count) => Give(ref _sides[0], count, 12 + 60);

        internal void Send()
        {
            ref Side side = ref _sides[1];
            uint count = packed ? Burst : (uint)(ushort)(*((ushort*)side.Driver + 1) - side.Used);
            Give(ref side, count, 0);
        }

        private void Give(ref Side side, uint count, uint length)
        {
            for (; count != 0; count--, side.Used++)
            {
                uint at = side.Used % Size;
                if (packed)
                {
                    ref ulong word = ref ((ulong*)side.Ring)[2 * at + 1];   // length, id, flags
                    Volatile.Write(ref word, length | (word & 0xffff_0000_0000) | (ulong)side.Flags << 48);
                    if (at == Size - 1)
                        side.Flags ^= Both;
                    continue;
                }
                ushort id = ((ushort*)side.Driver)[2 + at];
                ((ulong*)(side.Device + 4))[at] = id | (ulong)length << 32;
            }
            if (!packed)
                Volatile.Write(ref *((ushort*)side.Device + 1), (ushort)side.Used);
        }
    }
}
