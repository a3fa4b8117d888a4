using System.Runtime.InteropServices;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>A function whose BAR 0 is plain memory, as the driver left it.</summary>
internal sealed unsafe class NicFunction(PciDevice device, DmaContainer container) : PciFunction(device, container)
{
    internal const int BarBytes = 0x20000;

    internal byte* Bar { get; } = (byte*)NativeMemory.AllocZeroed(BarBytes);

    internal Mmio Registers => new(Bar, BarBytes);

    internal bool Disposed { get; private set; }

    public override void ReadConfig(int offset, Span<byte> bytes) => bytes.Clear();

    public override void WriteConfig(int offset, ReadOnlySpan<byte> bytes) { }

    public override ulong BarSizeBytes(int bar) => bar == 0 ? BarBytes : 0ul;

    public override Mmio MapBar(int bar) => Registers;

    public override void ReadBar(int bar, ulong offset, Span<byte> bytes) => bytes.Clear();

    public override void WriteBar(int bar, ulong offset, ReadOnlySpan<byte> bytes) { }

    public override void SetBusMaster(bool on) { }

    public override bool Reset() => true;

    public override int MaxVectors(InterruptKind kind) => 0;

    public override void SetInterrupts(InterruptKind kind, int vectors) { }

    public override SafeFileHandle Vector(int index) => throw new DeviceException("no interrupts");

    public override void UnmaskIntX() { }

    public override void Dispose()
    {
        Disposed = true;
        Container.Close(this);
    }
}

/// <summary>A container that takes any mapping: a device reads what the driver wrote.</summary>
internal sealed class NicContainer(Memory memory) : DmaContainer(memory, log: null)
{
    public override string Backend => "fake";

    public override IovaMode IovaMode => IovaMode.Va;

    private protected override PciFunction OpenCore(PciDevice device) => new NicFunction(device, this);

    private protected override void CloseCore(PciFunction function) { }

    private protected override void MapCore(DmaPiece piece) { }

    private protected override void UnmapCore(DmaPiece piece) { }

    private protected override void DisposeCore() { }
}

/// <summary>A port with one receive and one transmit queue of the family, joined by a device that is told when to
/// work.</summary>
internal sealed unsafe class NicPort<TRx, TTx> : Port, IQueueDevice
    where TRx : struct, IRxFormat where TTx : struct, ITxFormat
{
    private readonly NicContainer _container;

    internal NicPort(PortContext context) : base(context)
    {
        _container = new NicContainer(context.Eal.Memory);
        var device = new PciDevice { Address = default, Vendor = 0x8086, Device = 1, SysfsPath = "" };
        Nic = (NicFunction)_container.Open(device);
    }

    internal NicFunction Nic { get; }

    internal bool RestoresTags { get; init; }

    internal ulong NextStamp { get; set; }

    public PciFunction Function => Nic;

    public Mmio Registers => Nic.Registers;

    public override PortInfo Info { get; } = new()
    {
        DriverName = "net_nic",
        RxOffloads = (RxOffloads)0x1_ffff | RxOffloads.RssHash,
        TxOffloads = (TxOffloads)0x1_ffff,
        MinDescriptors = 64,
        DescriptorMultiple = 32,
        DefaultDescriptors = 64,
    };

    public override LinkStatus GetLink() => new(true);

    public RwReg32 RxTail(int queue) => new(0x18);

    public RwReg32 TxTail(int queue) => new(0x118);

    public ulong ReadMissed(int queue) => 0;

    public SafeFileHandle? RxVector(int queue) => null;

    public void SetRxVector(int queue, bool on) { }

    public ulong ReadStamp() => NextStamp;

    internal IntelRxQueue<TRx> Rx => (IntelRxQueue<TRx>)RxQueues[0];

    internal IntelTxQueue<TTx> Tx => (IntelTxQueue<TTx>)TxQueues[0];

    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
        new IntelRxQueue<TRx>(this, this, index, pool, config, RestoresTags);

    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new IntelTxQueue<TTx>(this, this, index, config);

    protected override void OnStart()
    {
        Rx.Arm();
        Rx.GiveRing();
    }

    protected override void OnClose()
    {
        Nic.Dispose();
        _container.Dispose();
    }
}

/// <summary>
/// The device behind a <see cref="NicPort{TRx, TTx}"/>, made from the datasheets and not from the driver: heads of its
/// own, tails from the registers, status where it was asked for. What is sent comes back.
/// </summary>
internal sealed unsafe class NicModel(byte* bar, ulong rxRing, uint rxCount, ulong txRing, uint txCount)
{
    private readonly uint* _rxTail = (uint*)(bar + 0x18), _txTail = (uint*)(bar + 0x118);
    private readonly Queue<byte[]> _wire = new();
    private List<byte> _frame = [];
    private uint _rxHead, _txHead;

    internal int BufferBytes { get; set; } = 2048;

    /// <summary>Descriptors that were written back.</summary>
    internal int Reports { get; private set; }

    /// <summary>Every transmit descriptor it has read, both halves.</summary>
    internal List<(ulong Low, ulong High)> Descriptors { get; } = [];

    internal Queue<byte[]> Wire => _wire;

    /// <summary>Reads up to so many transmit descriptors.</summary>
    internal void Send(int most = int.MaxValue)
    {
        for (; _txHead != *_txTail && most-- > 0; _txHead = (_txHead + 1) % txCount)
        {
            ulong* d = (ulong*)txRing + 2 * _txHead;
            Descriptors.Add((d[0], d[1]));
            bool context = (d[1] >> 29 & 1) != 0 && (d[1] >> 20 & 3) is 0 or 2 && (d[1] & (1 << 29)) != 0;
            if (!context)
            {
                _frame.AddRange(new ReadOnlySpan<byte>((void*)d[0], (int)(d[1] & 0xffff)));
                if ((d[1] >> 24 & 1) != 0)
                {
                    _wire.Enqueue([.. _frame]);
                    _frame = [];
                }
            }
            if ((d[1] >> 27 & 1) != 0)
            {
                ((uint*)d)[3] = 1;
                Reports++;
            }
        }
    }

    /// <summary>Delivers frames while there are descriptors.</summary>
    /// <param name="status">Beyond done and end of packet.</param>
    /// <param name="info">First half of the last descriptor.</param>
    /// <param name="tag">Its VLAN tag.</param>
    internal void Receive(uint status = 0, ulong info = 0, ushort tag = 0)
    {
        while (_wire.Count > 0 && Free * BufferBytes >= _wire.Peek().Length)
        {
            byte[] frame = _wire.Dequeue();
            for (int at = 0; at < frame.Length;)
            {
                ulong* d = (ulong*)rxRing + 2 * _rxHead;
                if (d[1] != 0)
                    throw new InvalidOperationException("a descriptor given to the device is not clear");
                int part = Math.Min(BufferBytes, frame.Length - at);
                frame.AsSpan(at, part).CopyTo(new Span<byte>((void*)d[0], part));
                at += part;
                bool last = at == frame.Length;
                d[0] = last ? info : 0;
                d[1] = (last ? status | 2 : 0) | 1 | (ulong)part << 32 | (last ? (ulong)tag << 48 : 0);
                _rxHead = (_rxHead + 1) % rxCount;
            }
        }
    }

    private uint Free => (*_rxTail + rxCount - _rxHead) % rxCount;
}
