namespace Dataplane.Pmd;

/// <summary>
/// Registers of a virtual function of the 82576, of its first pair of queues where they are a queue's. Offsets in bytes
/// from the start of BAR 0; names as its datasheet has them.
/// </summary>
internal static class IgbvfRegs
{
    /// <summary>Bytes of BAR 0 that hold registers.</summary>
    internal const int BarBytes = 0x4000;

    /// <summary>Words of <see cref="Vmbmem"/>.</summary>
    internal const int MailboxWords = 16;

    /// <summary>VTCTRL; writing the reset bit resets queues and interrupts.</summary>
    internal static RwReg32 Vtctrl => new(0x0000);
    /// <summary>The physical function's STATUS: link and speed.</summary>
    internal static RwReg32 Status => new(0x0008);
    /// <summary>Who has the mailbox, what is new in it; reading clears bits 4, 5 and 7. Table 7-71.</summary>
    internal static RcReg32 V2PMailbox => new(0x0c40);
    /// <summary>The mailbox's memory, shared with the physical function.</summary>
    internal static RwReg32 Vmbmem(int word) => new(0x0800 + 4 * (uint)word);

    internal const uint VtctrlReset = 1 << 26;
    /// <summary>To the other side: there is a message; I have read yours; the memory is mine.</summary>
    internal const uint MailboxRequest = 1 << 0, MailboxAck = 1 << 1, MailboxMine = 1 << 2;
    /// <summary>From it: there is a message; it is being reset; its reset is done.</summary>
    internal const uint MailboxStatus = 1 << 4, MailboxInReset = 1 << 6;

    // Interrupts: three vectors

    /// <summary>Vectors that are on; ones set.</summary>
    internal static RwReg32 Vteims => new(0x1524);
    /// <summary>Ones turn vectors off.</summary>
    internal static WoReg32 Vteimc => new(0x1528);
    /// <summary>Vectors whose cause is cleared when their message is sent.</summary>
    internal static RwReg32 Vteiac => new(0x152c);
    /// <summary>Vectors turned off when their message is sent.</summary>
    internal static RwReg32 Vteiam => new(0x1530);
    /// <summary>Causes; reading clears them, and so do ones written.</summary>
    internal static RcReg32 Vteicr => new(0x1580);
    /// <summary>Vectors of receive and transmit queue 0, then 1: a byte each.</summary>
    internal static RwReg32 Vtivar => new(0x1700);
    /// <summary>Vector of the mailbox.</summary>
    internal static RwReg32 VtivarMisc => new(0x1740);

    // Queue 0: as the physical function's, elsewhere

    internal static RwReg32 Rdbal => new(0x2800);
    internal static RwReg32 Rdbah => new(0x2804);
    internal static RwReg32 Rdlen => new(0x2808);
    internal static RwReg32 Srrctl => new(0x280c);
    internal static RwReg32 Rdh => new(0x2810);
    internal static RwReg32 Rdt => new(0x2818);
    internal static RwReg32 Rxdctl => new(0x2828);
    /// <summary>Packets dropped for want of a descriptor, 12 bits.</summary>
    internal static RcReg32 Rqdpc => new(0x2830);
    internal static RwReg32 Tdbal => new(0x3800);
    internal static RwReg32 Tdbah => new(0x3804);
    internal static RwReg32 Tdlen => new(0x3808);
    internal static RwReg32 Tdh => new(0x3810);
    internal static RwReg32 Tdt => new(0x3818);
    internal static RwReg32 Txdctl => new(0x3828);

    // Statistics: 32 bits that wrap; reading leaves them as they are

    internal static RwReg32 Vfgprc => new(0x0f10);
    internal static RwReg32 Vfgptc => new(0x0f14);
    internal static RwReg32 Vfgorc => new(0x0f18);
    internal static RwReg32 Vfgotc => new(0x0f34);
    internal static RwReg32 Vfmprc => new(0x0f3c);
    internal static RwReg32 Vfgprlbc => new(0x0f40);
    internal static RwReg32 Vfgptlbc => new(0x0f44);
    internal static RwReg32 Vfgorlbc => new(0x0f48);
    internal static RwReg32 Vfgotlbc => new(0x0f50);
}

/// <summary>What goes through the mailbox: bits of a message's first word. The datasheet leaves this to the drivers;
/// it is as Linux's igb answers it.</summary>
internal static class MailboxMessage
{
    internal const uint Reset = 1, SetAddress = 2, SetMulticast = 3, SetVlan = 4, SetLongPackets = 5, SetModes = 6;
    /// <summary>From the physical function: something has changed, e.g. the link.</summary>
    internal const uint Control = 0x100;
    /// <summary>The part that says which message it is.</summary>
    internal const uint Kind = 0xffff;
    internal const int InfoShift = 16;
    /// <summary>Of SetAddress: forget all but the own one; one more.</summary>
    internal const uint ClearAddresses = 1 << InfoShift, AddAddress = 2 << InfoShift;
    /// <summary>Of SetVlan.</summary>
    internal const uint AddVlan = 1 << InfoShift;
    /// <summary>Of SetModes.</summary>
    internal const uint AllMulticast = 2 << InfoShift;
    /// <summary>In replies: done; refused.</summary>
    internal const uint Ack = 1u << 31, Nack = 1 << 30;
    /// <summary>From the physical function: it knows that this function is in use.</summary>
    internal const uint ClearToSend = 1 << 29;
}
