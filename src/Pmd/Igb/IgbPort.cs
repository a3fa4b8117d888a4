namespace Dataplane.Pmd;

/// <summary>The <c>net_igb</c> driver: Intel 82576.</summary>
public sealed class IgbPmd : PciPortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_igb";

    /// <inheritdoc/>
    public override string Help => "Intel 82576 gigabit NIC; no arguments";

    /// <inheritdoc/>
    /// <remarks>82576 copper with one or two ports, fibre, SerDes, and boards with two of them: one MAC, and one way to
    /// use it as long as the PHY is the MAC's own. Fibre and SerDes need other link code and are left out.</remarks>
    public override IReadOnlyList<PciId> Ids { get; } =
    [
        new(0x8086, 0x10c9),       // 82576 copper
        new(0x8086, 0x10e8),       // quad port, copper
        new(0x8086, 0x1526),       // ET2 quad port, copper
        new(0x8086, 0x150a),       // 82576NS copper
    ];

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new IgbPort(context);
}

/// <summary>An 82576.</summary>
internal sealed class IgbPort : IntelPort
{
    private const int UnicastEntries = 24, QueueTimeoutUs = 100_000;

    internal IgbPort(PortContext context) : base(context)
    {
        uint lan = Registers.Read(IntelRegs.Status) >> IntelRegs.StatusLanShift & 1;
        uint phy = 2u << (int)lan;           // of SW_FW_SYNC: bit 1 for port 0, 2 for port 1
        Device.TakePhy = () =>
        {
            Device.Acquire(phy);
            return true;
        };
        Device.GivePhy = () => Device.Give(phy);
        PortInfo info = Open("net_igb");
        Info = info with
        {
            MaxRxQueues = IgbRegs.Queues,
            MaxTxQueues = IgbRegs.Queues,
            RxOffloads = info.RxOffloads | RxOffloads.Timestamp,
            MaxMtu = 9728 - FrameOverheadBytes - 4,      // 9.5 KB with the check sequence
            RssFields = RssFields.All,
        };
        Registers.Write(IgbRegs.Eimc, uint.MaxValue);
        for (int i = IntelRegs.Addresses; i < UnicastEntries; i++)
            Device.SetAddress(i, default, valid: false);
        Registers.SetBits(IntelRegs.CtrlExt, IgbRegs.CtrlExtPfResetDone);     // virtual functions may start
    }

    /// <inheritdoc/>
    public override PortInfo Info { get; }

    /// <inheritdoc/>
    protected override int RedirectionShift => 0;

    /// <inheritdoc/>
    protected override int UnicastPlaces => UnicastEntries;

    /// <inheritdoc/>
    protected override int ReceiveBufferBytes => (int)(Registers.Read(IgbRegs.Rxpbs) & 0x7f) * 1024;

    /// <inheritdoc/>
    public override RwReg32 RxTail(int queue) => IgbRegs.Rdt(queue);

    /// <inheritdoc/>
    public override RwReg32 TxTail(int queue) => IgbRegs.Tdt(queue);

    /// <inheritdoc/>
    public override ulong ReadMissed(int queue) => Stats.ReadMissed(queue, IgbRegs.Rqdpc(queue));

    /// <inheritdoc/>
    public override void SetRxVector(int queue, bool on)
    {
        uint vector = 1u << (1 + queue);
        if (on)
        {
            Registers.Write(new WoReg32(IgbRegs.Eicr.Offset), vector);      // of packets polled while it was off
            Registers.Write(IgbRegs.Eims, vector);
        }
        else
            Registers.Write(IgbRegs.Eimc, vector);
    }

    /// <inheritdoc/>
    public override ulong ReadStamp()
    {
        if ((Registers.Read(IntelRegs.Tsyncrxctl) & IntelRegs.TsyncValid) == 0)
            return 0;
        uint low = Registers.Read(IntelRegs.Rxstmpl);
        ulong stamp = low | (ulong)Registers.Read(IntelRegs.Rxstmph) << 32;
        _ = Registers.Read(IntelRegs.Rxsatrh);       // makes room for the next
        return stamp;
    }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        BufferKilobytes(pool, config);
        return new IntelRxQueue<IgbRxFormat>(this, this, index, pool, config, restoreTags: false);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new IntelTxQueue<IgbTxFormat>(this, this, index, config);

    /// <inheritdoc/>
    protected override int MaxBufferKilobytes => IgbRegs.MaxBufferKilobytes;

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        base.OnSetMtu(mtu);
        if (State == PortState.Started)
            Registers.Write(IgbRegs.Rlpml, (uint)(mtu + MaxFrameBytes - Mtu));
    }

    /// <inheritdoc/>
    protected override uint HashControl(RssFields fields) => fields == RssFields.None ? 0 : IgbRegs.MrqcRss
        | ((fields & RssFields.Ipv4) != 0 ? IntelRegs.MrqcIpv4 : 0)
        | ((fields & RssFields.Ipv4Tcp) != 0 ? IntelRegs.MrqcTcpIpv4 : 0)
        | ((fields & RssFields.Ipv4Udp) != 0 ? IntelRegs.MrqcUdpIpv4 : 0)
        | ((fields & RssFields.Ipv6) != 0 ? IntelRegs.MrqcIpv6 : 0)
        | ((fields & RssFields.Ipv6Tcp) != 0 ? IntelRegs.MrqcTcpIpv6 | IntelRegs.MrqcTcpIpv6Ex : 0)
        | ((fields & RssFields.Ipv6Udp) != 0 ? IntelRegs.MrqcUdpIpv6 : 0);

    /// <inheritdoc/>
    protected override void StartQueues()
    {
        Registers.Write(IgbRegs.Rlpml, (uint)MaxFrameBytes);
        Registers.SetBits(IntelRegs.Rfctl, IntelRegs.RfctlIPv6ExtensionDisable);  // an erratum, says DPDK
        StartClock();
        // A queue is off while its registers change.
        foreach (RxQueue queue in RxQueues)
        {
            int n = queue.Index;
            Registers.Write(IgbRegs.Rxdctl(n), 0);
            IntelRing.Tell(Registers, IgbRegs.Rdbal(n), queue);
            // With several queues one that nobody polls must not hold up the others.
            Registers.Write(IgbRegs.Srrctl(n), IgbRegs.SrrctlOneBuffer | (RxQueues.Count > 1 ? IgbRegs.SrrctlDrop : 0)
                | (uint)BufferKilobytes(queue.Pool, queue.Config));
        }
        foreach (TxQueue queue in TxQueues)
        {
            Registers.Write(IgbRegs.Txdctl(queue.Index), 0);
            IntelRing.Tell(Registers, IgbRegs.Tdbal(queue.Index), queue);
        }
    }

    /// <inheritdoc/>
    protected override void EnableQueues()
    {
        foreach (TxQueue queue in TxQueues)
            SetQueue(IgbRegs.Txdctl(queue.Index), IgbRegs.TxdctlThresholds | IgbRegs.DctlEnable);
        Registers.Write(IntelRegs.Tctl, TransmitControl);
        foreach (RxQueue queue in RxQueues)
            SetQueue(IgbRegs.Rxdctl(queue.Index), IgbRegs.RxdctlThresholds | IgbRegs.DctlEnable);
        Registers.Write(IntelRegs.Rctl, ReceiveControlNow());
    }

    /// <inheritdoc/>
    protected override void StopQueues()
    {
        // The device clears a queue's bit when it has finished with its memory.
        Registers.ClearBits(IntelRegs.Rctl, IntelRegs.RctlEnable);
        foreach (RxQueue queue in RxQueues)
            SetQueue(IgbRegs.Rxdctl(queue.Index), 0);
        Registers.ClearBits(IntelRegs.Tctl, IntelRegs.TctlEnable);
        foreach (TxQueue queue in TxQueues)
            SetQueue(IgbRegs.Txdctl(queue.Index), 0);
    }

    /// <inheritdoc/>
    protected override void EnableInterrupts(bool vectors, int queues)
    {
        if (vectors)
        {
            // A vector each; one that was sent is off until it is asked for again.
            Registers.Write(IgbRegs.Gpie,
                IgbRegs.GpieMultiple | IgbRegs.GpieAutoMask | IgbRegs.GpiePba | IgbRegs.GpieNonSelective);
            uint all = (1u << (1 + queues)) - 1;
            Registers.Write(IgbRegs.Eiac, all);
            Registers.Write(IgbRegs.Eiam, all);
            for (int i = 0; i < IgbRegs.Queues / 2; i++)
                Registers.Write(IgbRegs.Ivar(i), VectorOf(i, queues) | VectorOf(i + 8, queues) << 16);
            Registers.Write(IgbRegs.IvarMisc, IgbRegs.IvarValid << 8);   // vector 0
            Registers.Write(IgbRegs.Eims, 1);
        }
        else
            Registers.Write(IgbRegs.Gpie, 0);
        Registers.Write(IntelRegs.Ims, IntelRegs.CauseLinkChange);
    }

    /// <inheritdoc/>
    protected override void DisableInterrupts()
    {
        Registers.Write(IgbRegs.Eimc, uint.MaxValue);
        base.DisableInterrupts();
    }

    /// <inheritdoc/>
    protected override void RearmLink(bool vectors)
    {
        Registers.Write(IntelRegs.Ims, IntelRegs.CauseLinkChange);
        if (vectors)
            Registers.Write(IgbRegs.Eims, 1);
    }

    /// <inheritdoc/>
    protected override ulong OnReadClock()
    {
        lock (Device)
        {
            StartClock();
            uint low = Registers.Read(IntelRegs.Systiml);
            return low | (ulong)Registers.Read(IntelRegs.Systimh) << 32;
        }
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<RegisterValue> OnReadRegisters()
    {
        var values = new List<RegisterValue>();
        RegisterDump.Add(typeof(IntelRegs), Registers, IntelRegs.RssrkWords, values);
        RegisterDump.Add(typeof(IgbRegs), Registers, 8, values);
        return values;
    }

    /// <summary>Counts nanoseconds: 16 of them each 16 ns. Stamps Sync messages of PTP over Ethernet.</summary>
    private void StartClock()
    {
        const uint EveryTick = 1 << 24, Nanoseconds = 16, Ptp = 0x88f7;
        if (Registers.Read(IntelRegs.Timinca) != (EveryTick | Nanoseconds))
            Registers.Write(IntelRegs.Timinca, EveryTick | Nanoseconds);
        bool stamps = false;
        foreach (RxQueue? queue in RxQueues)
            stamps |= queue != null && (queue.Config.Offloads & RxOffloads.Timestamp) != 0;
        Registers.Write(IgbRegs.Tsyncrxcfg, 0);
        Registers.Write(IgbRegs.Etqf(0), stamps ? Ptp | IgbRegs.EtqfEnable | IgbRegs.Etqf1588 : 0);
        Registers.Write(IntelRegs.Tsyncrxctl, stamps ? IntelRegs.TsyncEnable | IntelRegs.TsyncTypeEventV2 : 0);
        _ = Registers.Read(IntelRegs.Rxsatrh);
    }

    private void SetQueue(RwReg32 register, uint value)
    {
        Registers.Write(register, value);
        Registers.PollUntil(register, IgbRegs.DctlEnable, value & IgbRegs.DctlEnable, QueueTimeoutUs);
    }

    private static uint VectorOf(int queue, int queues) => queue < queues ? IgbRegs.IvarValid | (uint)(1 + queue) : 0;
}
