namespace Dataplane.Pmd;

/// <summary>
/// Registers the 82574 has beyond <see cref="IntelRegs"/>. Offsets in bytes from the start of BAR 0; sections of its
/// datasheet, rev 2.7. Queue registers are 0x100 apart, 2 queues each way.
/// </summary>
internal static class E1000eRegs
{
    internal const int Queues = 2, MsixVectors = 5;

    // General: 10.2.2

    /// <summary>Who may use MDIO and NVM: software or firmware. 10.2.2.15, 4.5.2.</summary>
    internal static RwReg32 ExtcnfCtrl => new(0x0f00);
    /// <summary>Packet buffer: KB for receive in the low half.</summary>
    internal static RwReg32 Pba => new(0x1000);

    /// <summary>PCI Express control.</summary>
    internal static RwReg32 Gcr => new(0x5b00);
    /// <summary>PCI Express control, more of it.</summary>
    internal static RwReg32 Gcr2 => new(0x5b64);

    internal const uint ExtcnfSoftwareOwns = 1 << 5;

    // Without names in public; as DPDK's e1000 writes them, some of them Linux too. E1000ePort.ApplyErrata says why.
    internal const uint GcrErrata = 1 << 22, GcrL1WithoutL0s = 1 << 27, Gcr2Errata = 1 << 0, CtrlErrata = 1 << 29,
        CtrlExtErrataClear = 1 << 23, CtrlExtErrataSet = 1 << 22, TarcErrataClear = 0xfu << 27, TarcErrataSet = 1 << 26;

    // Interrupts: 10.2.4

    /// <summary>Causes cleared when their message is sent.</summary>
    internal static RwReg32 Eiac => new(0x00dc);
    /// <summary>Vectors of causes: 4 bits each of receive 0, 1, transmit 0, 1, others; bit 3 of each: valid.</summary>
    internal static RwReg32 Ivar => new(0x00e4);

    internal const uint CauseRxQueue0 = 1 << 20, CauseOther = 1 << 24;
    /// <summary>What the vector for other causes comes for: link, overrun, MDIO, small packet, acknowledgement,
    /// manageability. 10.2.4.1.</summary>
    internal const uint OtherCauses = IntelRegs.CauseLinkChange | 1 << 6 | 1 << 9 | 1 << 16 | 1 << 17 | 1 << 18;
    internal const uint IvarValid = 8;
    internal const int IvarRxShift = 0, IvarTxShift = 8, IvarOtherShift = 16;
    internal const uint CtrlExtAutoMask = 1 << 24, CtrlExtPbaClear = 1u << 31;

    // Receive: 10.2.5

    internal static RwReg32 Rdbal(int queue) => new(0x2800 + 0x100 * (uint)queue);
    internal static RwReg32 Rdbah(int queue) => new(0x2804 + 0x100 * (uint)queue);
    /// <summary>Bytes of the ring, a multiple of 128.</summary>
    internal static RwReg32 Rdlen(int queue) => new(0x2808 + 0x100 * (uint)queue);
    internal static RwReg32 Rdh(int queue) => new(0x2810 + 0x100 * (uint)queue);
    internal static RwReg32 Rdt(int queue) => new(0x2818 + 0x100 * (uint)queue);
    /// <summary>Delay of receive interrupts; of queue 0 alone.</summary>
    internal static RwReg32 Rdtr => new(0x2820);
    internal static RwReg32 Rxdctl(int queue) => new(0x2828 + 0x100 * (uint)queue);
    /// <summary>Longest delay of receive interrupts.</summary>
    internal static RwReg32 Radv => new(0x282c);

    /// <summary>Buffer size in KB, 1 to 15, at this bit of RCTL.</summary>
    internal const int RctlBufferShift = 27;
    /// <summary>Thresholds in descriptors: prefetch below 32, 4 at least at once, write back each.</summary>
    internal const uint RxdctlThresholds = 1 << 24 | 1 << 16 | 4 << 8 | 32;
    internal const uint MrqcRss = 1;

    // Transmit: 10.2.6

    internal static RwReg32 Tdbal(int queue) => new(0x3800 + 0x100 * (uint)queue);
    internal static RwReg32 Tdbah(int queue) => new(0x3804 + 0x100 * (uint)queue);
    internal static RwReg32 Tdlen(int queue) => new(0x3808 + 0x100 * (uint)queue);
    internal static RwReg32 Tdh(int queue) => new(0x3810 + 0x100 * (uint)queue);
    internal static RwReg32 Tdt(int queue) => new(0x3818 + 0x100 * (uint)queue);
    internal static RwReg32 Txdctl(int queue) => new(0x3828 + 0x100 * (uint)queue);
    /// <summary>Arbitration between transmit queues; bit 10: the queue is on.</summary>
    internal static RwReg32 Tarc(int queue) => new(0x3840 + 0x100 * (uint)queue);

    internal const uint TarcEnable = 1 << 10;
    /// <summary>Thresholds in descriptors (bits 24 and 22 must be 1): prefetch below 31, 1 at least at once, write back
    /// each.</summary>
    internal const uint TxdctlThresholds = 1 << 24 | 1 << 22 | 1 << 16 | 1 << 8 | 31;
    internal const uint TctlMultipleRequests = 1 << 28;
    /// <summary>Copper: 8, 8 and 6.</summary>
    internal const uint TipgCopper = 8 | 8 << 10 | 6 << 20;
}
