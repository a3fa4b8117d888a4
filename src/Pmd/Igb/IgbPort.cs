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

/// <summary>An 82576. Sections of its datasheet, rev 2.87.</summary>
internal sealed class IgbPort : IntelPort
{
    private const int UnicastEntries = 24, QueueTimeoutUs = 100_000;

    internal IgbPort(PortContext context) : base(context)
    {
        uint lan = Registers.Read(IntelRegs.Status) >> IntelRegs.StatusLanShift & 1;
        uint phy = 2u << (int)lan;                                       // 8.7.3: bit 1 for port 0, 2 for port 1
        Device.TakePhy = () => Device.Acquire(phy);
        Device.GivePhy = () => Device.Give(phy);
        Registers.Write(IgbRegs.Eimc, uint.MaxValue);
        for (int i = IntelRegs.Addresses; i < UnicastEntries; i++)
            Device.SetAddress(i, default, valid: false);
        Registers.SetBits(IntelRegs.CtrlExt, IgbRegs.CtrlExtPfResetDone); // 4.6.11.2: virtual functions may start
        Device.StartLink();
        Info = new PortInfo
        {
            DriverName = "net_igb",
            Pci = Function.Device,
            NumaNode = Function.Device.NumaNode,
            MacAddress = Address,
            MaxRxQueues = IgbRegs.Queues,
            MaxTxQueues = IgbRegs.Queues,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.VlanFilter | RxOffloads.Ipv4Checksum
                | RxOffloads.TcpChecksum | RxOffloads.UdpChecksum | RxOffloads.Scatter | RxOffloads.RssHash
                | RxOffloads.Timestamp,
            TxOffloads = TxOffloads.VlanInsert | TxOffloads.Ipv4Checksum | TxOffloads.TcpChecksum
                | TxOffloads.UdpChecksum | TxOffloads.TcpTso | TxOffloads.MultiSegments,
            MaxMtu = 9728 - FrameOverheadBytes - 4,                      // 9.5 KB with the check sequence: 8.11.2
            MinRxBufferBytes = 1024,
            MinDescriptors = 64,
            MaxDescriptors = 4096,
            DefaultDescriptors = 256,
            DescriptorMultiple = 32,
            MaxMacAddresses = 128,
            RssFields = RssFields.All,
            RssKeyBytes = 40,
            RedirectionEntries = RedirectionEntries,
            EepromBytes = Device.NvmBytes,
            RxInterrupts = MaxRxVectors > 0,
            LinkInterrupts = HasInterrupts,
        };
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
        _ = Registers.Read(IntelRegs.Rxsatrh);       // makes room for the next: 8.16.7
        return stamp;
    }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        BufferKilobytes(pool, config, most: 63);
        return new IntelRxQueue<IgbRxFormat>(this, this, index, pool, config, restoreTags: false);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new IntelTxQueue<IgbTxFormat>(this, this, index, config);

    /// <inheritdoc/>
    protected override void OnConfigure(PortConfig config)
    {
        if (config.RxInterrupts && config.RxQueues > MaxRxVectors)
            throw new ConfigException($"port {Name}: {config.RxQueues} receive queues cannot have interrupts",
                why: $"the function has {MaxRxVectors + 1} vectors, and the link takes one",
                fix: $"use {MaxRxVectors} queues");
    }

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        if (State == PortState.Started)
            Registers.Write(IgbRegs.Rlpml, (uint)(mtu + MaxFrameBytes - Mtu));
    }

    /// <inheritdoc/>
    protected override void Arm(RxQueue queue) => ((IntelRxQueue<IgbRxFormat>)queue).Arm();

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
        StartClock();
        // 4.5.9: one queue after another, off while its registers change.
        foreach (RxQueue queue in RxQueues)
        {
            var rx = (IntelRxQueue<IgbRxFormat>)queue;
            int n = rx.Index;
            Registers.Write(IgbRegs.Rxdctl(n), 0);
            Registers.Write(IgbRegs.Rdbal(n), (uint)rx.RingIova);
            Registers.Write(IgbRegs.Rdbah(n), (uint)(rx.RingIova >> 32));
            Registers.Write(IgbRegs.Rdlen(n), rx.RingBytes);
            // With several queues one that nobody polls must not hold up the others: 7.1.3.
            Registers.Write(IgbRegs.Srrctl(n), IgbRegs.SrrctlOneBuffer
                | (uint)BufferKilobytes(rx.Pool, rx.Config, most: 63) | (RxQueues.Count > 1 ? IgbRegs.SrrctlDrop : 0));
            Registers.Write(IgbRegs.Rdh(n), 0);
            Registers.Write(IgbRegs.Rdt(n), 0);
        }
        // 4.5.10.
        foreach (TxQueue queue in TxQueues)
        {
            var tx = (IntelTxQueue<IgbTxFormat>)queue;
            int n = tx.Index;
            Registers.Write(IgbRegs.Txdctl(n), 0);
            Registers.Write(IgbRegs.Tdbal(n), (uint)tx.RingIova);
            Registers.Write(IgbRegs.Tdbah(n), (uint)(tx.RingIova >> 32));
            Registers.Write(IgbRegs.Tdlen(n), tx.RingBytes);
            Registers.Write(IgbRegs.Tdh(n), 0);
            Registers.Write(IgbRegs.Tdt(n), 0);
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
        foreach (RxQueue queue in RxQueues)
            ((IntelRxQueue<IgbRxFormat>)queue).GiveRing();   // after the queue is on: 4.5.9
    }

    /// <inheritdoc/>
    protected override void StopQueues()
    {
        // 4.5.9.2, 4.5.10.2: the device clears the bit when it has finished with the queue's memory.
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
            // 7.3.3: a vector each; one that was sent is off until it is asked for again.
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
        Registers.Write(IntelRegs.Imc, uint.MaxValue);
        Registers.Write(IgbRegs.Eimc, uint.MaxValue);
        Device.Flush();
    }

    /// <inheritdoc/>
    protected override void RearmLink()
    {
        Registers.Write(IntelRegs.Ims, IntelRegs.CauseLinkChange);
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

    /// <summary>Counts nanoseconds: 16 of them each 16 ns. 8.16.3. Stamps Sync messages of PTP over Ethernet.</summary>
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
