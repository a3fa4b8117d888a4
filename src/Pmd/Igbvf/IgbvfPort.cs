using Dataplane.Native;
using Dataplane.Net;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>The <c>net_igbvf</c> driver: virtual functions of the Intel 82576.</summary>
public sealed class IgbvfPmd : PciPortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_igbvf";

    /// <inheritdoc/>
    public override string Help => "virtual function of an Intel 82576; no arguments";

    /// <inheritdoc/>
    public override IReadOnlyList<PciId> Ids { get; } = [new(0x8086, 0x10ca)];

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new IgbvfPort(context, TimeSpan.FromSeconds(10));
}

/// <summary>
/// A virtual function of the 82576. What it cannot do itself it asks the physical function's driver for.
/// </summary>
internal sealed partial class IgbvfPort : Port, IQueueDevice
{
    private const int QueueTimeoutUs = 1_000_000, CrcBytes = 4, MailboxVector = 0, RxVectorIndex = 1;
    private static readonly uint[] s_speeds = [10, 100, 1000, 1000];

    private readonly Mailbox _mailbox;
    private readonly Lock _lock = new();
    private readonly IgbvfStats _stats;
    private MacAddress _assigned;           // by the physical function's driver; zero where it leaves it to us
    private bool _lost, _ready, _starting, _interrupts, _rxVector;
    private IDisposable? _watch;

    internal IgbvfPort(PortContext context, TimeSpan patience) : base(context)
    {
        context.Args.ThrowIfUnused();
        Function = context.Function ?? throw new ConfigException($"device '{Name}': this driver needs a PCI function",
            fix: "bind the virtual function to vfio-pci and name it by its address, e.g. -a 0000:3b:10.0");
        Registers = Function.MapBar(0);
        if (Registers.SizeBytes < IgbvfRegs.BarBytes)
            throw new DeviceException($"device '{Name}': BAR 0 is too small",
                $"it has 0x{Registers.SizeBytes:x} bytes, the registers take 0x{IgbvfRegs.BarBytes:x}");
        _mailbox = new Mailbox(Name, Registers, patience);
        _stats = new IgbvfStats(Registers);
        ResetFunction();
        Info = new PortInfo
        {
            DriverName = "net_igbvf",
            Pci = Function.Device,
            NumaNode = Function.Device.NumaNode,
            MacAddress = _assigned != default ? _assigned : MacAddress.Local((uint)Random.Shared.NextInt64(1L << 32)),
            MaxRxQueues = 1,
            MaxTxQueues = 1,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.VlanFilter | RxOffloads.Ipv4Checksum
                | RxOffloads.TcpChecksum | RxOffloads.UdpChecksum | RxOffloads.Scatter,
            TxOffloads = IntelPort.Offloads,
            MaxMtu = 9728 - FrameOverheadBytes - CrcBytes,
            MinRxBufferBytes = 1024,
            MinDescriptors = 64,
            MaxDescriptors = 4096,
            DefaultDescriptors = 256,
            DescriptorMultiple = IntelRing.Batch,
            MaxMacAddresses = 32,
            RxInterrupts = Function.MaxVectors(InterruptKind.MsiX) > RxVectorIndex,
            LinkInterrupts = Function.MaxVectors(InterruptKind.MsiX) > MailboxVector,
        };
        Function.Lost += OnLost;
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    /// <inheritdoc/>
    public PciFunction Function { get; }

    /// <inheritdoc/>
    public Mmio Registers { get; }

    /// <summary>The device answers: a register that has zeros reads as something else than all ones.</summary>
    private bool Answers => !_lost && Registers.Read(IgbvfRegs.Status) != uint.MaxValue;

    /// <inheritdoc/>
    public override LinkStatus GetLink()
    {
        uint status = _lost || State == PortState.Closed ? uint.MaxValue : Registers.Read(IgbvfRegs.Status);
        if (status == uint.MaxValue || (status & IntelRegs.StatusLinkUp) == 0)
            return new LinkStatus(false);
        return new LinkStatus(true, s_speeds[status >> IntelRegs.StatusSpeedShift & 3],
            (status & IntelRegs.StatusFd) != 0, Autonegotiated: true);
    }

    /// <inheritdoc/>
    public RwReg32 RxTail(int queue) => IgbvfRegs.Rdt;

    /// <inheritdoc/>
    public RwReg32 TxTail(int queue) => IgbvfRegs.Tdt;

    /// <inheritdoc/>
    public ulong ReadMissed(int queue) => _stats.ReadMissed();

    /// <inheritdoc/>
    public SafeFileHandle? RxVector(int queue) => _rxVector ? Function.Vector(RxVectorIndex) : null;

    /// <inheritdoc/>
    public void SetRxVector(int queue, bool on)
    {
        if (on)
        {
            Registers.Write(new WoReg32(IgbvfRegs.Vteicr.Offset), 1u << RxVectorIndex);  // of packets polled meanwhile
            Registers.Write(IgbvfRegs.Vteims, 1u << RxVectorIndex);
        }
        else
            Registers.Write(IgbvfRegs.Vteimc, 1u << RxVectorIndex);
    }

    /// <inheritdoc/>
    public ulong ReadStamp() => 0;

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        IntelPort.BufferKilobytes(this, pool, config, IgbRegs.MaxBufferKilobytes, Mtu);
        // The physical function's driver has tags taken out of every frame.
        return new IntelRxQueue<IgbRxFormat>(this, this, index, pool, config,
            restoreTags: (config.Offloads & RxOffloads.VlanStrip) == 0);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new IntelTxQueue<IgbTxFormat>(this, this, index, config);

    /// <inheritdoc/>
    protected override void OnStart()
    {
        try
        {
            lock (_lock)
            {
                ResetFunction();
                _starting = true;
                Apply();
                _starting = false;
                foreach (RxQueue queue in RxQueues)
                    StartRx((IntelRxQueue<IgbRxFormat>)queue);
                foreach (TxQueue queue in TxQueues)
                {
                    Registers.Write(IgbvfRegs.Txdctl, 0);
                    IntelRing.Tell(Registers, IgbvfRegs.Tdbal, queue);
                }
                Function.SetBusMaster(true);
                StartInterrupts();
                EnableQueues();
            }
        }
        catch
        {
            _starting = false;
            UndoStart();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        _watch?.Dispose();          // not under the lock its callback takes: this waits for the callback's end
        _watch = null;
        lock (_lock)
        {
            StopInterrupts();
            if (!Answers)
                return;
            foreach (RxQueue _ in RxQueues)
                SetQueue(IgbvfRegs.Rxdctl, 0);
            foreach (TxQueue _ in TxQueues)
                SetQueue(IgbvfRegs.Txdctl, 0);
        }
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        lock (_lock)
        {
            Function.Lost -= OnLost;
            _stats.Stop();
            if (Answers)
            {
                Registers.Write(IgbvfRegs.Vtctrl, IgbvfRegs.VtctrlReset);
                Function.SetBusMaster(false);
            }
        }
    }

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats) => _stats.Add(xstats);

    /// <inheritdoc/>
    protected override IReadOnlyList<RegisterValue> OnReadRegisters()
    {
        var values = new List<RegisterValue>();
        RegisterDump.Add(typeof(IgbvfRegs), Registers, IgbvfRegs.MailboxWords, values);
        return values;
    }

    /// <summary>Resets queues and interrupts, and has the physical function's driver begin anew with this function.
    /// </summary>
    private void ResetFunction()
    {
        _ready = false;
        _stats.Collect();
        Registers.Write(IgbvfRegs.Vtctrl, IgbvfRegs.VtctrlReset);
        _mailbox.WaitForPhysical();
        Registers.Write(IgbvfRegs.Vteimc, uint.MaxValue);
        Span<uint> message = [MailboxMessage.Reset, 0, 0];
        // Refused means that it has no address for us, and nothing else.
        _assigned = _mailbox.Ask(message) ? ReadAddress(message[1], message[2]) : default;
        if (_assigned.IsMulticast)
            throw new DeviceException($"device '{Name}': its physical function gave it the address {_assigned}",
                why: "that is a group address", fix: "set one: ip link set NAME vf NUMBER mac ADDRESS");
        _ready = true;
        _stats.Rebase();
    }

    private static MacAddress ReadAddress(uint low, uint high)
    {
        Span<byte> bytes = stackalloc byte[8];
        BitConverter.TryWriteBytes(bytes, low);
        BitConverter.TryWriteBytes(bytes[4..], high);
        return MacAddress.Read(bytes);
    }

    private void StartRx(IntelRxQueue<IgbRxFormat> rx)
    {
        rx.Arm();
        Registers.Write(IgbvfRegs.Rxdctl, 0);
        IntelRing.Tell(Registers, IgbvfRegs.Rdbal, rx);
        // A queue that nobody polls must not hold up the other functions.
        Registers.Write(IgbvfRegs.Srrctl, IgbRegs.SrrctlOneBuffer | IgbRegs.SrrctlDrop
            | (uint)IntelPort.BufferKilobytes(this, rx.Pool, rx.Config, IgbRegs.MaxBufferKilobytes, Mtu));
    }

    private void EnableQueues()
    {
        foreach (TxQueue _ in TxQueues)
            SetQueue(IgbvfRegs.Txdctl, IgbRegs.TxdctlThresholds | IgbRegs.DctlEnable);
        foreach (RxQueue queue in RxQueues)
        {
            SetQueue(IgbvfRegs.Rxdctl, IgbRegs.RxdctlThresholds | IgbRegs.DctlEnable);
            ((IntelRxQueue<IgbRxFormat>)queue).GiveRing();       // once the queue is on: before, the tail is not taken
        }
    }

    private void SetQueue(RwReg32 register, uint value)
    {
        Registers.Write(register, value);
        Registers.PollUntil(register, IgbRegs.DctlEnable, value & IgbRegs.DctlEnable, QueueTimeoutUs);
    }

    private void StartInterrupts()
    {
        int vectors = Math.Min(Function.MaxVectors(InterruptKind.MsiX), Config.RxInterrupts ? 2 : 1);
        if (vectors == 0)
            return;
        Function.SetInterrupts(InterruptKind.MsiX, vectors);
        _interrupts = true;
        _rxVector = Config.RxInterrupts;
        // One that was sent is off until it is asked for again.
        uint all = (1u << vectors) - 1;
        Registers.Write(IgbvfRegs.Vteiac, all);
        Registers.Write(IgbvfRegs.Vteiam, all);
        Registers.Write(IgbvfRegs.Vtivar, _rxVector ? IgbRegs.IvarValid | (uint)RxVectorIndex : 0);
        Registers.Write(IgbvfRegs.VtivarMisc, IgbRegs.IvarValid | (uint)MailboxVector);
        Registers.Write(IgbvfRegs.Vteims, 1u << MailboxVector);
        _watch = Eal.Interrupts.Register(Function.Vector(MailboxVector), OnInterrupt);
    }

    private void StopInterrupts()
    {
        if (!_interrupts)
            return;
        _interrupts = _rxVector = false;
        if (Answers)
            Registers.Write(IgbvfRegs.Vteimc, uint.MaxValue);
        Function.SetInterrupts(InterruptKind.None, 0);
    }

    /// <summary>The physical function's driver has written. Control thread for interrupts.</summary>
    private void OnInterrupt()
    {
        uint message;
        lock (_lock)
        {
            if (!_interrupts)
                return;
            Eventfd.Drain(Function.Vector(MailboxVector));
            if (!Answers)
                return;
            message = _mailbox.Take();
            Registers.Write(IgbvfRegs.Vteims, 1u << MailboxVector);
        }
        if ((message & MailboxMessage.Kind) == MailboxMessage.Control)
            Raise((message & MailboxMessage.ClearToSend) != 0 ? PortEvent.LinkChanged : PortEvent.ResetNeeded);
    }

    private void OnLost(PciFunction function, PortLoss why) => _lost |= why == PortLoss.Requested;
}
