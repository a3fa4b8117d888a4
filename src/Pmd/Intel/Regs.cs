namespace Dataplane.Pmd;

/// <summary>
/// Registers that Intel's gigabit MACs have at the same place. Offsets in bytes from the start of BAR 0. Names as the
/// datasheets have them; sections are of the 82574's, rev 2.7 (README.md says what was checked against what).
/// </summary>
internal static class IntelRegs
{
    // General: 10.2.2

    /// <summary>Device control.</summary>
    internal static RwReg32 Ctrl => new(0x0000);
    /// <summary>Device status; reads as all ones when the device is gone.</summary>
    internal static RwReg32 Status => new(0x0008);
    /// <summary>EEPROM and flash control.</summary>
    internal static RwReg32 Eecd => new(0x0010);
    /// <summary>EEPROM read: address and start in, data and done out.</summary>
    internal static RwReg32 Eerd => new(0x0014);
    /// <summary>Extended device control.</summary>
    internal static RwReg32 CtrlExt => new(0x0018);
    /// <summary>Access to the PHY's registers over MDIO.</summary>
    internal static RwReg32 Mdic => new(0x0020);
    /// <summary>Pause frames' destination, low half.</summary>
    internal static RwReg32 Fcal => new(0x0028);
    /// <summary>Pause frames' destination, high half.</summary>
    internal static RwReg32 Fcah => new(0x002c);
    /// <summary>Pause frames' EtherType.</summary>
    internal static RwReg32 Fct => new(0x0030);
    /// <summary>EtherType of VLAN tags.</summary>
    internal static RwReg32 Vet => new(0x0038);
    /// <summary>LED modes, a byte each.</summary>
    internal static RwReg32 Ledctl => new(0x0e00);

    internal const uint CtrlFd = 1 << 0, CtrlMasterDisable = 1 << 2, CtrlSetLinkUp = 1 << 6,
        CtrlForceSpeed = 1 << 11, CtrlForceDuplex = 1 << 12, CtrlReset = 1 << 26, CtrlRxPause = 1 << 27,
        CtrlTxPause = 1 << 28, CtrlVlanMode = 1 << 30, CtrlPhyReset = 1u << 31;
    internal const uint StatusFd = 1 << 0, StatusLinkUp = 1 << 1, StatusMasterEnabled = 1 << 19;
    internal const int StatusLanShift = 2, StatusSpeedShift = 6;
    internal const uint EecdAutoReadDone = 1 << 9;
    internal const int EecdSizeShift = 11;
    internal const uint EerdStart = 1 << 0, EerdDone = 1 << 1;
    internal const int EerdAddressShift = 2, EerdDataShift = 16;
    internal const uint CtrlExtDriverLoaded = 1 << 28;
    internal const uint MdicWrite = 1 << 26, MdicRead = 1 << 27, MdicReady = 1 << 28, MdicError = 1 << 30;
    internal const int MdicRegisterShift = 16, MdicPhyShift = 21;
    internal const uint LedModeOn = 0xe, LedBlink = 1 << 7, LedMask = 0xff;

    // Interrupts: 10.2.4

    /// <summary>Causes; cleared by reading, or by writing ones.</summary>
    internal static RcReg32 Icr => new(0x00c0);
    /// <summary>Sets causes.</summary>
    internal static WoReg32 Ics => new(0x00c8);
    /// <summary>Causes that interrupt; ones set.</summary>
    internal static RwReg32 Ims => new(0x00d0);
    /// <summary>Ones take causes out of IMS.</summary>
    internal static WoReg32 Imc => new(0x00d8);
    /// <summary>Causes taken out of IMS when an interrupt is acknowledged.</summary>
    internal static RwReg32 Iam => new(0x00e0);

    internal const uint CauseLinkChange = 1 << 2;

    // Flow control

    /// <summary>Pause time, in 64-byte times.</summary>
    internal static RwReg32 Fcttv => new(0x0170);
    /// <summary>Bytes waiting below which the far end may go on; bit 31: tell it.</summary>
    internal static RwReg32 Fcrtl => new(0x2160);
    /// <summary>Bytes waiting above which the far end is to pause.</summary>
    internal static RwReg32 Fcrth => new(0x2168);

    internal const uint FcrtlXonEnable = 1u << 31;

    // Receive: 10.2.5

    /// <summary>Receive control.</summary>
    internal static RwReg32 Rctl => new(0x0100);
    /// <summary>Receive checksum control.</summary>
    internal static RwReg32 Rxcsum => new(0x5000);
    /// <summary>Receive filter control.</summary>
    internal static RwReg32 Rfctl => new(0x5008);
    /// <summary>Multiple receive queues: RSS and what it hashes.</summary>
    internal static RwReg32 Mrqc => new(0x5818);
    /// <summary>Multicast table: 128 words of 32 hash values.</summary>
    internal static RwReg32 Mta(int word) => new(0x5200 + 4 * (uint)word);
    /// <summary>Receive address, first four bytes of it in order from bit 0.</summary>
    internal static RwReg32 Ral(int entry) => new(0x5400 + 8 * (uint)entry);
    /// <summary>Receive address, last two bytes; bit 31: valid.</summary>
    internal static RwReg32 Rah(int entry) => new(0x5404 + 8 * (uint)entry);
    /// <summary>VLAN filter: 128 words of 32 VLANs.</summary>
    internal static RwReg32 Vfta(int word) => new(0x5600 + 4 * (uint)word);
    /// <summary>Redirection table: 32 words of 4 entries.</summary>
    internal static RwReg32 Reta(int word) => new(0x5c00 + 4 * (uint)word);
    /// <summary>RSS key: 10 words.</summary>
    internal static RwReg32 Rssrk(int word) => new(0x5c80 + 4 * (uint)word);

    internal const int MtaWords = 128, VftaWords = 128, RetaWords = 32, RssrkWords = 10, Addresses = 16;
    internal const uint RctlEnable = 1 << 1, RctlUnicastPromiscuous = 1 << 3, RctlMulticastPromiscuous = 1 << 4,
        RctlLongPackets = 1 << 5, RctlBroadcast = 1 << 15, RctlVlanFilter = 1 << 18, RctlStripCrc = 1 << 26;
    internal const uint RxcsumIp = 1 << 8, RxcsumTcpUdp = 1 << 9, RxcsumHashInstead = 1 << 13;
    internal const uint RfctlNfsWriteDisable = 1 << 6, RfctlNfsReadDisable = 1 << 7, RfctlAckDisable = 1 << 12,
        RfctlExtended = 1 << 15, RfctlIPv6ExtensionDisable = 1 << 16;
    internal const uint RahValid = 1u << 31;
    internal const uint MrqcTcpIpv4 = 1 << 16, MrqcIpv4 = 1 << 17, MrqcTcpIpv6Ex = 1 << 18, MrqcIpv6 = 1 << 20,
        MrqcTcpIpv6 = 1 << 21, MrqcUdpIpv4 = 1 << 22, MrqcUdpIpv6 = 1 << 23;

    // Transmit: 10.2.6

    /// <summary>Transmit control.</summary>
    internal static RwReg32 Tctl => new(0x0400);
    /// <summary>Gap between packets.</summary>
    internal static RwReg32 Tipg => new(0x0410);

    internal const uint TctlEnable = 1 << 1, TctlPadShort = 1 << 3, TctlCollisionThreshold = 0xf << 4,
        TctlCollisionMask = 0xff << 4, TctlCollisionDistance = 0x3f << 12, TctlDistanceMask = 0x3ff << 12,
        TctlRetransmitLate = 1 << 24;

    // Semaphores shared with firmware and the other port

    /// <summary>Software semaphore: reading sets bit 0.</summary>
    internal static RwReg32 Swsm => new(0x5b50);
    /// <summary>Who owns which resource.</summary>
    internal static RwReg32 SwFwSync => new(0x5b5c);

    internal const uint SwsmTaken = 1 << 0, SwsmFirmware = 1 << 1;
    internal const int SyncFirmwareShift = 16;

    // Time

    /// <summary>System time, low half; reading it latches the high half.</summary>
    internal static RcReg32 Systiml => new(0xb600);
    /// <summary>System time, high half.</summary>
    internal static RcReg32 Systimh => new(0xb604);
    /// <summary>What is added to the system time, and how often.</summary>
    internal static RwReg32 Timinca => new(0xb608);
    /// <summary>Transmit time stamps: control.</summary>
    internal static RwReg32 Tsynctxctl => new(0xb614);
    /// <summary>Receive time stamps: control.</summary>
    internal static RwReg32 Tsyncrxctl => new(0xb620);
    /// <summary>Stamp of the received packet, low half.</summary>
    internal static RcReg32 Rxstmpl => new(0xb624);
    /// <summary>Stamp of the received packet, high half.</summary>
    internal static RcReg32 Rxstmph => new(0xb628);
    /// <summary>Source of the stamped packet; reading it makes room for the next stamp.</summary>
    internal static RcReg32 Rxsatrh => new(0xb630);

    internal const uint TsyncValid = 1 << 0, TsyncEnable = 1 << 4, TsyncTypeMask = 7 << 1, TsyncTypeEventV2 = 5 << 1;
}

/// <summary>Registers of the PHY that IEEE 802.3 clause 22 names.</summary>
internal static class PhyRegs
{
    internal const int Control = 0, Advertise = 4, PartnerAbility = 5;
    internal const ushort ControlRestart = 1 << 9, ControlPowerDown = 1 << 11, ControlAutonegotiate = 1 << 12;
    internal const ushort Pause = 1 << 10, AsymmetricPause = 1 << 11;
}

/// <summary>
/// Statistics registers, cleared by reading. Both devices have those listed here, at the same place.
/// </summary>
internal static class StatRegs
{
    internal static RcReg32 Crcerrs => new(0x4000);
    internal static RcReg32 Algnerrc => new(0x4004);
    internal static RcReg32 Rxerrc => new(0x400c);
    /// <summary>Packets lost because the packet buffer was full.</summary>
    internal static RcReg32 Mpc => new(0x4010);
    internal static RcReg32 Scc => new(0x4014);
    internal static RcReg32 Ecol => new(0x4018);
    internal static RcReg32 Mcc => new(0x401c);
    internal static RcReg32 Latecol => new(0x4020);
    internal static RcReg32 Colc => new(0x4028);
    internal static RcReg32 Dc => new(0x4030);
    internal static RcReg32 Tncrs => new(0x4034);
    internal static RcReg32 Rlec => new(0x4040);
    internal static RcReg32 Xonrxc => new(0x4048);
    internal static RcReg32 Xontxc => new(0x404c);
    internal static RcReg32 Xoffrxc => new(0x4050);
    internal static RcReg32 Xofftxc => new(0x4054);
    internal static RcReg32 Prc64 => new(0x405c);
    internal static RcReg32 Prc127 => new(0x4060);
    internal static RcReg32 Prc255 => new(0x4064);
    internal static RcReg32 Prc511 => new(0x4068);
    internal static RcReg32 Prc1023 => new(0x406c);
    internal static RcReg32 Prc1522 => new(0x4070);
    internal static RcReg32 Gprc => new(0x4074);
    internal static RcReg32 Bprc => new(0x4078);
    internal static RcReg32 Mprc => new(0x407c);
    internal static RcReg32 Gptc => new(0x4080);
    /// <summary>Low half first; reading the high half clears both.</summary>
    internal static RcReg32 Gorcl => new(0x4088);
    internal static RcReg32 Gorch => new(0x408c);
    internal static RcReg32 Gotcl => new(0x4090);
    internal static RcReg32 Gotch => new(0x4094);
    internal static RcReg32 Rnbc => new(0x40a0);
    internal static RcReg32 Ruc => new(0x40a4);
    internal static RcReg32 Rfc => new(0x40a8);
    internal static RcReg32 Roc => new(0x40ac);
    internal static RcReg32 Rjc => new(0x40b0);
    internal static RcReg32 Torl => new(0x40c0);
    internal static RcReg32 Torh => new(0x40c4);
    internal static RcReg32 Totl => new(0x40c8);
    internal static RcReg32 Toth => new(0x40cc);
    internal static RcReg32 Tpr => new(0x40d0);
    internal static RcReg32 Tpt => new(0x40d4);
    internal static RcReg32 Ptc64 => new(0x40d8);
    internal static RcReg32 Ptc127 => new(0x40dc);
    internal static RcReg32 Ptc255 => new(0x40e0);
    internal static RcReg32 Ptc511 => new(0x40e4);
    internal static RcReg32 Ptc1023 => new(0x40e8);
    internal static RcReg32 Ptc1522 => new(0x40ec);
    internal static RcReg32 Mptc => new(0x40f0);
    internal static RcReg32 Bptc => new(0x40f4);
    internal static RcReg32 Tsctc => new(0x40f8);
    internal static RcReg32 Iac => new(0x4100);
}
