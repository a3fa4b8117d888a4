using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>
/// A port of the family: what is alike in all. A device's own class sets up its queues and interrupts.
/// </summary>
internal abstract partial class IntelPort : Port, IQueueDevice
{
    /// <summary>Entries of the redirection table.</summary>
    protected const int RedirectionEntries = 128;

    /// <summary>What every device of the family does for packets it sends.</summary>
    internal const TxOffloads Offloads = TxOffloads.VlanInsert | TxOffloads.Ipv4Checksum | TxOffloads.TcpChecksum
        | TxOffloads.UdpChecksum | TxOffloads.TcpTso | TxOffloads.MultiSegments | TxOffloads.FastFree;

    private const int CrcBytes = 4, MinBars = 0x10000;
    private bool _promiscuous, _allMulticast, _lost;

    /// <summary>Takes the function. A device's own class then calls <see cref="Open"/>.</summary>
    /// <exception cref="DataplaneException">There is none, or it is not what it should be.</exception>
    protected IntelPort(PortContext context) : base(context)
    {
        context.Args.ThrowIfUnused();
        Function = context.Function ?? throw new ConfigException($"device '{Name}': this driver needs a PCI function",
            fix: "bind the NIC to vfio-pci and name it by its address, e.g. -a 0000:3b:00.0");
        Registers = Function.MapBar(0);
        if (Registers.SizeBytes < MinBars)
            throw new DeviceException($"device '{Name}': BAR 0 is too small",
                $"it has 0x{Registers.SizeBytes:x} bytes, the registers take 0x{MinBars:x}");
        Device = new IntelDevice(Name, Registers);
        Stats = new IntelStats(Registers);
    }

    /// <inheritdoc/>
    public PciFunction Function { get; }

    /// <inheritdoc/>
    public Mmio Registers { get; }

    /// <summary>What all of the family have alike.</summary>
    protected IntelDevice Device { get; }

    /// <summary>The statistics registers.</summary>
    protected IntelStats Stats { get; }

    /// <summary>The longest frame received, check sequence counted.</summary>
    protected int MaxFrameBytes => Mtu + FrameOverheadBytes + CrcBytes;

    /// <summary>Resets the device, and has its PHY look for a link.</summary>
    /// <param name="driver">Its name.</param>
    /// <returns>What all ports of the family say of themselves.</returns>
    /// <exception cref="DeviceException">It does not answer.</exception>
    protected PortInfo Open(string driver)
    {
        Device.Reset();
        Function.Lost += OnLost;
        MacAddress address = Device.ReadAddress();
        Device.StartLink();
        return new PortInfo
        {
            DriverName = driver,
            Pci = Function.Device,
            NumaNode = Function.Device.NumaNode,
            MacAddress = address,
            RxOffloads = RxOffloads.VlanStrip | RxOffloads.VlanFilter | RxOffloads.Ipv4Checksum
                | RxOffloads.TcpChecksum | RxOffloads.UdpChecksum | RxOffloads.Scatter | RxOffloads.RssHash,
            TxOffloads = Offloads,
            MinRxBufferBytes = 1024,
            MinDescriptors = 64,
            MaxDescriptors = 4096,
            DefaultDescriptors = 256,
            DescriptorMultiple = IntelRing.Batch,
            MaxMacAddresses = 128,
            RssKeyBytes = 40,
            RedirectionEntries = RedirectionEntries,
            EepromBytes = Device.NvmBytes,
            RxInterrupts = MaxRxVectors > 0,
            LinkInterrupts = HasInterrupts,
        };
    }

    /// <inheritdoc/>
    public override string? FirmwareVersion
    {
        get
        {
            lock (Device)
                return State == PortState.Closed ? null : Device.NvmVersion;
        }
    }

    /// <inheritdoc/>
    public override LinkStatus GetLink() => _lost || State == PortState.Closed ? new(false) : Device.GetLink();

    /// <inheritdoc/>
    public abstract RwReg32 RxTail(int queue);

    /// <inheritdoc/>
    public abstract RwReg32 TxTail(int queue);

    /// <inheritdoc/>
    public abstract ulong ReadMissed(int queue);

    /// <inheritdoc/>
    public virtual ulong ReadStamp() => 0;

    /// <summary>Queue registers, and what else a device has of its own; nothing is received or sent yet.</summary>
    protected abstract void StartQueues();

    /// <summary>Lets the device use the queues.</summary>
    protected abstract void EnableQueues();

    /// <summary>Ends all use of the queues' memory.</summary>
    protected abstract void StopQueues();

    /// <summary>MRQC for what is to be hashed.</summary>
    protected abstract uint HashControl(RssFields fields);

    /// <summary>Where in its byte an entry of the redirection table has its queue.</summary>
    protected abstract int RedirectionShift { get; }

    /// <summary>Bits of RCTL beyond those all have.</summary>
    protected virtual uint ReceiveControl => 0;

    /// <summary>Bytes of packet buffer for receive.</summary>
    protected abstract int ReceiveBufferBytes { get; }

    /// <summary>Tags are taken out of received frames, and out of the way of transmit.</summary>
    protected virtual bool VlanMode => (Config.RxOffloads & RxOffloads.VlanStrip) != 0;

    /// <inheritdoc/>
    protected override void OnConfigure(PortConfig config)
    {
        if (config.RxInterrupts && config.RxQueues > MaxRxVectors)
            throw new ConfigException($"port {Name}: {config.RxQueues} receive queues cannot have interrupts",
                why: $"the function has {MaxRxVectors + 1} vectors, and the link takes one",
                fix: $"use {MaxRxVectors} queues");
    }

    /// <inheritdoc/>
    protected override void OnStart()
    {
        try
        {
            lock (Device)
            {
                ApplyAddresses(MacAddresses);
                ApplyVlans();
                ApplyChecksums();
                ApplyHash();
                Device.SetPauseThresholds(ReceiveBufferBytes, MaxFrameBytes);
                foreach (RxQueue queue in RxQueues)
                    ((IIntelRxRing)queue).Arm();
                StartQueues();
                Function.SetBusMaster(true);
                StartInterrupts();
                EnableQueues();
                foreach (RxQueue queue in RxQueues)
                    ((IIntelRxRing)queue).GiveRing();   // once queues are on: before, the tail is not taken
            }
        }
        catch
        {
            UndoStart();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        StopWatching();
        lock (Device)
        {
            StopInterrupts();
            try
            {
                if (Device.Answers)
                    StopQueues();
            }
            catch (DataplaneException) when (!Device.Answers)
            {
                // pulled out just now
            }
        }
    }

    /// <inheritdoc/>
    protected override void OnClose()
    {
        lock (Device)
        {
            Function.Lost -= OnLost;
            Stats.Stop();
            if (!_lost)
            {
                Device.Release();
                Function.SetBusMaster(false);
            }
            Function.Dispose();
        }
    }

    /// <inheritdoc/>
    protected override void AddXstats(ICollection<Xstat> xstats) => Stats.Add(xstats);

    /// <summary>RCTL as it should be now.</summary>
    protected uint ReceiveControlNow() => IntelRegs.RctlEnable | IntelRegs.RctlLongPackets | IntelRegs.RctlBroadcast
        | IntelRegs.RctlStripCrc | ReceiveControl
        | (_promiscuous ? IntelRegs.RctlUnicastPromiscuous | IntelRegs.RctlMulticastPromiscuous : 0)
        | (_allMulticast ? IntelRegs.RctlMulticastPromiscuous : 0)
        | ((Config.RxOffloads & RxOffloads.VlanFilter) != 0 ? IntelRegs.RctlVlanFilter : 0);

    /// <summary>TCTL for full duplex; the rest is for half duplex and as the datasheets want it.</summary>
    protected static uint TransmitControl => IntelRegs.TctlEnable | IntelRegs.TctlPadShort
        | IntelRegs.TctlCollisionThreshold | IntelRegs.TctlCollisionDistance | IntelRegs.TctlRetransmitLate;

    /// <summary>Most KB that the device can be told a buffer has.</summary>
    protected abstract int MaxBufferKilobytes { get; }

    /// <inheritdoc cref="BufferKilobytes(Port, Mempool, RxQueueConfig, int, int)"/>
    protected int BufferKilobytes(Mempool pool, RxQueueConfig config) =>
        BufferKilobytes(this, pool, config, MaxBufferKilobytes, Mtu);

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        foreach (RxQueue? queue in RxQueues)
            if (queue != null)
                BufferKilobytes(this, queue.Pool, queue.Config, MaxBufferKilobytes, mtu);
    }

    /// <summary>Buffers of a receive queue as the device counts them, KB.</summary>
    /// <exception cref="ConfigException">Frames of this MTU do not fit, and may not be spread over several.</exception>
    internal static int BufferKilobytes(Port port, Mempool pool, RxQueueConfig config, int most, int mtu)
    {
        int room = pool.DataRoomBytes - Mbuf.DefaultHeadroom, kilobytes = Math.Min(room / 1024, most);
        if (kilobytes * 1024 < mtu + FrameOverheadBytes && (config.Offloads & RxOffloads.Scatter) == 0)
            throw new ConfigException(
                $"port {port.Name}: frames of MTU {mtu} do not fit the mbufs of pool '{pool.Name}'",
                why: $"the device fills whole KB: {kilobytes} of {room} bytes, and scatter is off",
                fix: "use a data room of a multiple of 1024 bytes, plus 128, or RxOffloads.Scatter");
        return kilobytes;
    }

    /// <summary>Unicast addresses go to the device's list, multicast ones to its table of hashes.</summary>
    private void ApplyAddresses(IReadOnlyList<MacAddress> addresses)
    {
        int place = 0;
        foreach (MacAddress address in addresses)
            if (!address.IsMulticast)
                Device.SetAddress(place++, address, valid: true);
        while (place < UnicastPlaces)
            Device.SetAddress(place++, default, valid: false);
        Device.SetMulticast(addresses);
    }

    /// <summary>Unicast addresses the device can hold.</summary>
    protected abstract int UnicastPlaces { get; }

    private void ApplyVlans()
    {
        if (VlanMode)
            Registers.SetBits(IntelRegs.Ctrl, IntelRegs.CtrlVlanMode);
        else
            Registers.ClearBits(IntelRegs.Ctrl, IntelRegs.CtrlVlanMode);
        for (int i = 0; i < IntelRegs.VftaWords; i++)
            Registers.Write(IntelRegs.Vfta(i), 0);
        foreach (ushort vlan in VlanFilter)
            Device.SetVlan(vlan, true);
    }

    private void ApplyChecksums()
    {
        RxOffloads offloads = Config.RxOffloads;
        foreach (RxQueue queue in RxQueues)
            offloads |= queue.Config.Offloads;
        const RxOffloads L4 = RxOffloads.TcpChecksum | RxOffloads.UdpChecksum;
        // The hash takes the place of the fragment checksum in the descriptor.
        Registers.Write(IntelRegs.Rxcsum, IntelRegs.RxcsumHashInstead
            | ((offloads & (RxOffloads.Ipv4Checksum | L4)) != 0 ? IntelRegs.RxcsumIp : 0)
            | ((offloads & L4) != 0 ? IntelRegs.RxcsumTcpUdp : 0));
    }

    private void ApplyHash()
    {
        bool hash = RxQueues.Count > 1;
        foreach (RxQueue queue in RxQueues)
            hash |= (queue.Config.Offloads & RxOffloads.RssHash) != 0;
        if (!hash || Rss.Fields == RssFields.None)
        {
            Registers.Write(IntelRegs.Mrqc, 0);
            return;
        }
        if (Redirection.IsEmpty)
        {
            var table = new ushort[RedirectionEntries];
            for (int i = 0; i < table.Length; i++)
                table[i] = (ushort)(i % RxQueues.Count);
            InitializeRedirection(table);
        }
        Device.SetRedirection(Redirection, RedirectionShift);
        Device.SetHash(Rss.Key ?? Toeplitz.MicrosoftKey, HashControl(Rss.Fields & Info.RssFields));
    }

    // The base class tells of it. After an error the device is there still, and may work again once it is started anew.
    private void OnLost(PciFunction function, PortLoss why) => _lost |= why == PortLoss.Requested;
}
