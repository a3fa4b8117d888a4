using Microsoft.Extensions.Logging;

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

/// <summary>An 82574. Sections of its datasheet, rev 2.7.</summary>
internal sealed partial class E1000ePort : IntelPort
{
    private const int OwnershipTimeoutUs = 100_000;
    private const uint VlanTag = 0x8100;        // IEEE 802.1Q

    internal E1000ePort(PortContext context) : base(context)
    {
        Device.FirmwareSetsPhy = true;
        Device.TakePhy = TakePhy;
        Device.GivePhy = () => Registers.ClearBits(E1000eRegs.ExtcnfCtrl, E1000eRegs.ExtcnfSoftwareOwns);
        Info = Open("net_e1000e") with
        {
            MaxRxQueues = E1000eRegs.Queues,
            MaxTxQueues = E1000eRegs.Queues,
            MaxMtu = 9000,
            RssFields = RssFields.Ipv4 | RssFields.Ipv4Tcp | RssFields.Ipv6 | RssFields.Ipv6Tcp,
        };
        WarnOfPowerSaving();
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
    /// <remarks>Tags are put in only while they are taken out too (CTRL.VME): where the latter was not asked
    /// for, receive puts them back.</remarks>
    protected override bool VlanMode => base.VlanMode || InsertsTags;

    /// <inheritdoc/>
    protected override int MaxBufferKilobytes => 15;

    /// <inheritdoc/>
    protected override uint ReceiveControl
    {
        get
        {
            int kilobytes = MaxBufferKilobytes;      // one size for all queues: the least any can take
            foreach (RxQueue queue in RxQueues)
                kilobytes = Math.Min(kilobytes, BufferKilobytes(queue.Pool, queue.Config));
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
        BufferKilobytes(pool, config);
        return new IntelRxQueue<E1000eRxFormat>(this, this, index, pool, config,
            restoreTags: InsertsTags && (Config.RxOffloads & RxOffloads.VlanStrip) == 0);
    }

    /// <inheritdoc/>
    protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) =>
        new IntelTxQueue<E1000eTxFormat>(this, this, index, config);

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
            | IntelRegs.RfctlNfsWriteDisable | IntelRegs.RfctlAckDisable);
        ApplyErrata();
        Registers.Write(IntelRegs.Vet, VlanTag);    // its initial value, which QEMU loses at a reset
        Registers.Write(E1000eRegs.Rdtr, 0);
        Registers.Write(E1000eRegs.Radv, 0);
        // 4.6.5.
        foreach (RxQueue queue in RxQueues)
        {
            IntelRing.Tell(Registers, E1000eRegs.Rdbal(queue.Index), queue);
            Registers.Write(E1000eRegs.Rxdctl(queue.Index), E1000eRegs.RxdctlThresholds);
        }
        // 4.6.6.
        Registers.Write(IntelRegs.Tipg, E1000eRegs.TipgCopper);
        for (int n = 0; n < E1000eRegs.Queues; n++)
        {
            Registers.Write(E1000eRegs.Txdctl(n), E1000eRegs.TxdctlThresholds);   // alike in both: an erratum (Linux)
            if (n >= TxQueues.Count)
            {
                Registers.ClearBits(E1000eRegs.Tarc(n), E1000eRegs.TarcEnable);
                continue;
            }
            IntelRing.Tell(Registers, E1000eRegs.Tdbal(n), TxQueues[n]);
            Registers.SetBits(E1000eRegs.Tarc(n), E1000eRegs.TarcEnable);
        }
    }

    /// <inheritdoc/>
    protected override void EnableQueues()
    {
        Registers.Write(IntelRegs.Tctl, TransmitControl | E1000eRegs.TctlMultipleRequests);
        Registers.Write(IntelRegs.Rctl, ReceiveControlNow());
    }

    /// <inheritdoc/>
    /// <remarks>Queues cannot be turned off one by one, and heads may only be set after a reset: so a reset
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
            Registers.Write(E1000eRegs.Eiac, rx);        // sent once, then off until asked for again
            Registers.SetBits(IntelRegs.CtrlExt, E1000eRegs.CtrlExtAutoMask | E1000eRegs.CtrlExtPbaClear);
            // Erratum 12: an interrupt may be lost when ICR is read while none is asserted. The vector for other causes
            // comes for all of these, asked for or not, but asserts only for those asked for (Linux 116f4a640b31).
            Registers.Write(IntelRegs.Ims, E1000eRegs.OtherCauses | E1000eRegs.CauseOther);
        }
        else
            Registers.Write(IntelRegs.Ims, IntelRegs.CauseLinkChange);
    }

    /// <inheritdoc/>
    protected override void RearmLink(bool vectors)
    {
        uint causes = vectors ? E1000eRegs.OtherCauses | E1000eRegs.CauseOther : IntelRegs.CauseLinkChange;
        Registers.Write(new WoReg32(IntelRegs.Icr.Offset), causes);   // reading need not clear them: 10.2.4.1, case 3
        Registers.Write(IntelRegs.Ims, causes);
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<RegisterValue> OnReadRegisters()
    {
        var values = new List<RegisterValue>();
        RegisterDump.Add(typeof(IntelRegs), Registers, IntelRegs.RssrkWords, values);
        RegisterDump.Add(typeof(E1000eRegs), Registers, E1000eRegs.Queues, values);
        return values;
    }

    /// <summary>4.5.2: software owns MDIO once the bit it set reads back; firmware may hold it for a while.</summary>
    private bool TakePhy()
    {
        Registers.SetBits(E1000eRegs.ExtcnfCtrl, E1000eRegs.ExtcnfSoftwareOwns);
        if (Device.TryWait(E1000eRegs.ExtcnfCtrl, E1000eRegs.ExtcnfSoftwareOwns, E1000eRegs.ExtcnfSoftwareOwns,
            OwnershipTimeoutUs))
            return true;
        Device.GivePhy!();      // or it is granted when nobody waits for it any more
        return false;
    }

    /// <summary>What the 82574 is told after each reset because of its errata; README.md says which, and where that is
    /// known from.</summary>
    private void ApplyErrata()
    {
        Registers.SetBits(E1000eRegs.Gcr, E1000eRegs.GcrErrata | E1000eRegs.GcrL1WithoutL0s);
        Registers.SetBits(E1000eRegs.Gcr2, E1000eRegs.Gcr2Errata);
        Registers.ClearBits(IntelRegs.Ctrl, E1000eRegs.CtrlErrata);
        Registers.Write(IntelRegs.CtrlExt, Registers.Read(IntelRegs.CtrlExt) & ~E1000eRegs.CtrlExtErrataClear
            | E1000eRegs.CtrlExtErrataSet);
        Registers.Write(E1000eRegs.Tarc(0), Registers.Read(E1000eRegs.Tarc(0)) & ~E1000eRegs.TarcErrataClear
            | E1000eRegs.TarcErrataSet);
    }

    /// <summary>Linux does not let the 82574's link to the machine sleep (L0s, L1). VFIO keeps that register to itself:
    /// all there is to do is to say so.</summary>
    private void WarnOfPowerSaving()
    {
        const byte Express = 0x10;                   // PCI Express Base 4.0 §7.5.3: capability, link control
        const int LinkControl = 0x10, Sleeps = 3;
        int capability = Function.FindCapability(Express);
        if (capability != 0 && (Function.ReadConfig16(capability + LinkControl) & Sleeps) != 0)
            LogPowerSaving(Eal.Log.CreateLogger("pmd.net.e1000e"), Name, Function.Device.Address);
    }

    [LoggerMessage(LogLevel.Warning, "{Port}: its PCIe link may go to sleep (ASPM), which the 82574 bears badly: "
        + "echo 0 | sudo tee /sys/bus/pci/devices/{Address}/link/l0s_aspm "
        + "/sys/bus/pci/devices/{Address}/link/l1_aspm, or boot with pcie_aspm=off")]
    private static partial void LogPowerSaving(ILogger logger, string port, PciAddress address);
}
