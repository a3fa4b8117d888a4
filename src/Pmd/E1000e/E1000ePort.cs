namespace Dataplane.Pmd;

/// <summary>The <c>net_e1000e</c> driver: Intel 82574.</summary>
public sealed class E1000ePmd : PciPortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_e1000e";

    /// <inheritdoc/>
    public override string Help => "Intel 82574 gigabit NIC; no arguments";

    /// <inheritdoc/>
    public override IReadOnlyList<PciId> Ids { get; } =
    [
        new(0x8086, 0x10d3),       // 82574L
        new(0x8086, 0x10f6),       // 82574IT, the same in a wider range of temperatures
    ];

    /// <inheritdoc/>
    public override Port Create(PortContext context) => new E1000ePort(context);
}

/// <summary>An 82574. Sections of its datasheet, rev 3.4.</summary>
internal sealed class E1000ePort : IntelPort
{
    private const int OwnershipTimeoutUs = 100_000;
    private const uint VlanTag = 0x8100;        // IEEE 802.1Q

    internal E1000ePort(PortContext context) : base(context)
    {
        Device.TakePhy = TakePhy;
        Device.GivePhy = () => Registers.ClearBits(E1000eRegs.ExtcnfCtrl, E1000eRegs.ExtcnfSoftwareOwns);
        Device.StartLink();
        Info = new PortInfo
        {
            DriverName = "net_e1000e",
            Pci = Function.Device,
            NumaNode = Function.Device.NumaNode,
            MacAddress = Address,
            MaxRxQueues = E1000eRegs.Queues,
            MaxTxQueues = E1000eRegs.Queues,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.VlanFilter | RxOffloads.Ipv4Checksum
                | RxOffloads.TcpChecksum | RxOffloads.UdpChecksum | RxOffloads.Scatter | RxOffloads.RssHash,
            TxOffloads = TxOffloads.VlanInsert | TxOffloads.Ipv4Checksum | TxOffloads.TcpChecksum
                | TxOffloads.UdpChecksum | TxOffloads.TcpTso | TxOffloads.MultiSegments,
            MaxMtu = 9000,
            MinRxBufferBytes = 1024,
            MinDescriptors = 64,
            MaxDescriptors = 4096,
            DefaultDescriptors = 256,
            DescriptorMultiple = 32,
            MaxMacAddresses = 128,
            RssFields = RssFields.Ipv4 | RssFields.Ipv4Tcp | RssFields.Ipv6 | RssFields.Ipv6Tcp,
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
    protected override int RedirectionShift => 7;

    /// <inheritdoc/>
    protected override int UnicastPlaces => IntelRegs.Addresses;

    /// <inheritdoc/>
    protected override int ReceiveBufferBytes => (int)(Registers.Read(E1000eRegs.Pba) & 0xff) * 1024;

    /// <inheritdoc/>
    /// <remarks>Tags are put in only while they are taken out too (CTRL.VME, 10.2.2.1): where the latter was not asked
    /// for, receive puts them back.</remarks>
    protected override bool VlanMode => base.VlanMode || InsertsTags;

    /// <inheritdoc/>
    protected override uint ReceiveControl
    {
        get
        {
            int kilobytes = 15;      // one size for all queues: the least any can take
            foreach (RxQueue queue in RxQueues)
                kilobytes = Math.Min(kilobytes, BufferKilobytes(queue.Pool, queue.Config, most: 15));
            return (uint)kilobytes << E1000eRegs.RctlBufferShift;
        }
    }

    private bool InsertsTags => (Config.TxOffloads & TxOffloads.VlanInsert) != 0;

    /// <inheritdoc/>
    public override RwReg32 RxTail(int queue) => E1000eRegs.Rdt(queue);

    /// <inheritdoc/>
    public override RwReg32 TxTail(int queue) => E1000eRegs.Tdt(queue);

    /// <inheritdoc/>
    public override ulong ReadMissed(int queue) => Stats.ReadMissed(queue, default);

    /// <inheritdoc/>
    public override void SetRxVector(int queue, bool on)
    {
        uint cause = E1000eRegs.CauseRxQueue0 << queue;
        if (on)
        {
            Registers.Write(new WoReg32(IntelRegs.Icr.Offset), cause);      // of packets polled while it was off
            Registers.Write(IntelRegs.Ims, cause);
        }
        else
            Registers.Write(IntelRegs.Imc, cause);
    }

    /// <inheritdoc/>
    protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config)
    {
        BufferKilobytes(pool, config, most: 15);
        return new IntelRxQueue<E1000eRxFormat>(this, this, index, pool, config,
            restoreTags: InsertsTags && (Config.RxOffloads & RxOffloads.VlanStrip) == 0);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new IntelTxQueue<E1000eTxFormat>(this, this, index, config);

    /// <inheritdoc/>
    protected override void OnConfigure(PortConfig config)
    {
        if (config.RxInterrupts && config.RxQueues > MaxRxVectors)
            throw new ConfigException($"port {Name}: {config.RxQueues} receive queues cannot have interrupts",
                why: $"the function has {MaxRxVectors + 1} vectors, and the link takes one",
                fix: $"use {MaxRxVectors} queues");
    }

    /// <inheritdoc/>
    protected override void Arm(RxQueue queue) => ((IntelRxQueue<E1000eRxFormat>)queue).Arm();

    /// <inheritdoc/>
    protected override uint HashControl(RssFields fields) => fields == RssFields.None ? 0 : E1000eRegs.MrqcRss
        | ((fields & RssFields.Ipv4) != 0 ? IntelRegs.MrqcIpv4 : 0)
        | ((fields & RssFields.Ipv4Tcp) != 0 ? IntelRegs.MrqcTcpIpv4 : 0)
        | ((fields & RssFields.Ipv6) != 0 ? IntelRegs.MrqcIpv6 : 0)
        | ((fields & RssFields.Ipv6Tcp) != 0 ? IntelRegs.MrqcTcpIpv6Ex : 0);   // bit 18 is plain IPv6 here

    /// <inheritdoc/>
    protected override void StartQueues()
    {
        Registers.Write(IntelRegs.Rfctl, IntelRegs.RfctlExtended | IntelRegs.RfctlNfsReadDisable
            | IntelRegs.RfctlNfsWriteDisable);
        Registers.Write(IntelRegs.Vet, VlanTag);    // 10.2.2.14's initial value, which QEMU loses at a reset
        Registers.Write(E1000eRegs.Rdtr, 0);
        Registers.Write(E1000eRegs.Radv, 0);
        // 4.6.5.
        foreach (RxQueue queue in RxQueues)
        {
            var rx = (IntelRxQueue<E1000eRxFormat>)queue;
            int n = rx.Index;
            Registers.Write(E1000eRegs.Rdbal(n), (uint)rx.RingIova);
            Registers.Write(E1000eRegs.Rdbah(n), (uint)(rx.RingIova >> 32));
            Registers.Write(E1000eRegs.Rdlen(n), rx.RingBytes);
            Registers.Write(E1000eRegs.Rdh(n), 0);
            Registers.Write(E1000eRegs.Rdt(n), 0);
            Registers.Write(E1000eRegs.Rxdctl(n), E1000eRegs.RxdctlThresholds);
        }
        // 4.6.6.
        Registers.Write(IntelRegs.Tipg, E1000eRegs.TipgCopper);
        for (int n = 0; n < E1000eRegs.Queues; n++)
        {
            if (n >= TxQueues.Count)
            {
                Registers.ClearBits(E1000eRegs.Tarc(n), E1000eRegs.TarcEnable);
                continue;
            }
            var tx = (IntelTxQueue<E1000eTxFormat>)TxQueues[n];
            Registers.Write(E1000eRegs.Tdbal(n), (uint)tx.RingIova);
            Registers.Write(E1000eRegs.Tdbah(n), (uint)(tx.RingIova >> 32));
            Registers.Write(E1000eRegs.Tdlen(n), tx.RingBytes);
            Registers.Write(E1000eRegs.Tdh(n), 0);
            Registers.Write(E1000eRegs.Tdt(n), 0);
            Registers.Write(E1000eRegs.Txdctl(n), E1000eRegs.TxdctlThresholds);
            Registers.SetBits(E1000eRegs.Tarc(n), E1000eRegs.TarcEnable);
        }
    }

    /// <inheritdoc/>
    protected override void EnableQueues()
    {
        Registers.Write(IntelRegs.Tctl, TransmitControl | E1000eRegs.TctlMultipleRequests);
        Registers.Write(IntelRegs.Rctl, ReceiveControlNow());
        foreach (RxQueue queue in RxQueues)
            ((IntelRxQueue<E1000eRxFormat>)queue).GiveRing();
    }

    /// <inheritdoc/>
    /// <remarks>Queues cannot be turned off one by one, and heads may only be set after a reset (10.2.5.4): so a reset
    /// of the MAC, which leaves the PHY and its link alone.</remarks>
    protected override void StopQueues()
    {
        Stats.Collect();
        Device.Reset();
        Device.StartLink();
    }

    /// <inheritdoc/>
    protected override void EnableInterrupts(bool vectors, int queues)
    {
        if (vectors)
        {
            uint allocation = E1000eRegs.IvarValid << E1000eRegs.IvarOtherShift, rx = 0;    // vector 0
            for (int i = 0; i < queues; i++)
            {
                allocation |= (E1000eRegs.IvarValid | (uint)(1 + i)) << (E1000eRegs.IvarRxShift + 4 * i);
                rx |= E1000eRegs.CauseRxQueue0 << i;
            }
            Registers.Write(E1000eRegs.Ivar, allocation);
            Registers.Write(E1000eRegs.Eiac, rx);        // 10.2.4.7: sent once, then off until asked for again
            Registers.SetBits(IntelRegs.CtrlExt, E1000eRegs.CtrlExtPbaClear);
            Registers.Write(IntelRegs.Ims, IntelRegs.CauseLinkChange | E1000eRegs.CauseOther);
        }
        else
            Registers.Write(IntelRegs.Ims, IntelRegs.CauseLinkChange);
    }

    /// <inheritdoc/>
    protected override void DisableInterrupts()
    {
        Registers.Write(IntelRegs.Imc, uint.MaxValue);
        Device.Flush();
    }

    /// <inheritdoc/>
    protected override void RearmLink()
    {
        // Reading does not clear causes while vectors are in use: 10.2.4.1.
        Registers.Write(new WoReg32(IntelRegs.Icr.Offset), IntelRegs.CauseLinkChange | E1000eRegs.CauseOther);
        Registers.Write(IntelRegs.Ims, IntelRegs.CauseLinkChange | E1000eRegs.CauseOther);
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<RegisterValue> OnReadRegisters()
    {
        var values = new List<RegisterValue>();
        RegisterDump.Add(typeof(IntelRegs), Registers, IntelRegs.RssrkWords, values);
        RegisterDump.Add(typeof(E1000eRegs), Registers, E1000eRegs.Queues, values);
        return values;
    }

    /// <summary>10.2.2: software owns MDIO while the bit stays set; firmware may hold it for a while.</summary>
    private void TakePhy()
    {
        Registers.SetBits(E1000eRegs.ExtcnfCtrl, E1000eRegs.ExtcnfSoftwareOwns);
        if (!Device.TryWait(E1000eRegs.ExtcnfCtrl, E1000eRegs.ExtcnfSoftwareOwns, E1000eRegs.ExtcnfSoftwareOwns,
            OwnershipTimeoutUs))
            throw new DeviceException($"device '{Name}': firmware does not give up MDIO",
                why: $"EXTCNF_CTRL.MDIO_SW_OWNERSHIP could not be set in {OwnershipTimeoutUs} us",
                fix: "a cold start resets firmware");
    }
}
