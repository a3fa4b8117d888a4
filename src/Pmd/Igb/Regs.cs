namespace Dataplane.Pmd;

/// <summary>
/// Registers the 82576 has beyond <see cref="IntelRegs"/>. Offsets in bytes from the start of BAR 0; names as its
/// datasheet has them. Queue registers are 0x40 apart, 16 queues each way.
/// </summary>
internal static class IgbRegs
{
    internal const int Queues = 16, MsixVectors = 25;

    // Interrupts

    /// <summary>General purpose interrupt enable: how vectors behave.</summary>
    internal static RwReg32 Gpie => new(0x1514);
    /// <summary>Sets extended causes.</summary>
    internal static WoReg32 Eics => new(0x1520);
    /// <summary>Vectors that are on; ones set.</summary>
    internal static RwReg32 Eims => new(0x1524);
    /// <summary>Ones turn vectors off.</summary>
    internal static WoReg32 Eimc => new(0x1528);
    /// <summary>Vectors whose cause is cleared when their message is sent.</summary>
    internal static RwReg32 Eiac => new(0x152c);
    /// <summary>Vectors turned off when their message is sent.</summary>
    internal static RwReg32 Eiam => new(0x1530);
    /// <summary>Extended causes.</summary>
    internal static RcReg32 Eicr => new(0x1580);
    /// <summary>Vectors of queues: bytes of receive n, transmit n, receive n + 8, transmit n + 8.</summary>
    internal static RwReg32 Ivar(int pair) => new(0x1700 + 4 * (uint)pair);
    /// <summary>Vectors of the TCP timer (byte 0) and all other causes (byte 1).</summary>
    internal static RwReg32 IvarMisc => new(0x1740);

    internal const uint GpieNonSelective = 1 << 0, GpieMultiple = 1 << 4, GpieAutoMask = 1 << 30, GpiePba = 1u << 31;
    internal const uint IvarValid = 0x80;

    // Receive

    /// <summary>Bytes of the longest frame, check sequence counted.</summary>
    internal static RwReg32 Rlpml => new(0x5004);
    /// <summary>Receive packet buffer, KB.</summary>
    internal static RwReg32 Rxpbs => new(0x2404);
    internal static RwReg32 Rdbal(int queue) => new(0xc000 + 0x40 * (uint)queue);
    internal static RwReg32 Rdbah(int queue) => new(0xc004 + 0x40 * (uint)queue);
    /// <summary>Bytes of the ring, a multiple of 128.</summary>
    internal static RwReg32 Rdlen(int queue) => new(0xc008 + 0x40 * (uint)queue);
    /// <summary>Descriptor type, buffer size in KB, whether to drop when it has no descriptor.</summary>
    internal static RwReg32 Srrctl(int queue) => new(0xc00c + 0x40 * (uint)queue);
    internal static RwReg32 Rdh(int queue) => new(0xc010 + 0x40 * (uint)queue);
    internal static RwReg32 Rdt(int queue) => new(0xc018 + 0x40 * (uint)queue);
    internal static RwReg32 Rxdctl(int queue) => new(0xc028 + 0x40 * (uint)queue);
    /// <summary>Packets dropped for want of a descriptor, 12 bits.</summary>
    internal static RcReg32 Rqdpc(int queue) => new(0xc030 + 0x40 * (uint)queue);
    /// <summary>More receive addresses: entries 16 to 23.</summary>
    internal static RwReg32 Ral2(int entry) => new(0x54e0 + 8 * (uint)entry);
    internal static RwReg32 Rah2(int entry) => new(0x54e4 + 8 * (uint)entry);
    /// <summary>EtherType filters.</summary>
    internal static RwReg32 Etqf(int filter) => new(0x5cb0 + 4 * (uint)filter);

    internal const int MaxBufferKilobytes = 63;   // SRRCTL.BSIZEPACKET
    internal const uint SrrctlOneBuffer = 1 << 25, SrrctlDrop = 1u << 31;
    internal const uint DctlEnable = 1 << 25;
    /// <summary>Prefetch below 8 descriptors, 8 at least at once, write back each.</summary>
    internal const uint RxdctlThresholds = 8 | 8 << 8 | 1 << 16;
    internal const uint MrqcRss = 2;
    internal const uint EtqfEnable = 1 << 26, Etqf1588 = 1 << 30;

    // Transmit

    internal static RwReg32 Tdbal(int queue) => new(0xe000 + 0x40 * (uint)queue);
    internal static RwReg32 Tdbah(int queue) => new(0xe004 + 0x40 * (uint)queue);
    internal static RwReg32 Tdlen(int queue) => new(0xe008 + 0x40 * (uint)queue);
    internal static RwReg32 Tdh(int queue) => new(0xe010 + 0x40 * (uint)queue);
    internal static RwReg32 Tdt(int queue) => new(0xe018 + 0x40 * (uint)queue);
    internal static RwReg32 Txdctl(int queue) => new(0xe028 + 0x40 * (uint)queue);

    /// <summary>Prefetch below 8 descriptors, 1 at least at once; each status that is asked for is written at once.
    /// With 0 for that a virtual function at times does not write it (an erratum): DPDK uses 1.</summary>
    internal const uint TxdctlThresholds = 8 | 1 << 8 | 1 << 16;

    // Time

    /// <summary>Which message of PTP is stamped.</summary>
    internal static RwReg32 Tsyncrxcfg => new(0x5f50);

    // Virtual functions

    internal const uint CtrlExtPfResetDone = 1 << 14;
}
