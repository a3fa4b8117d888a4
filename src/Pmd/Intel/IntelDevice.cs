using System.Diagnostics;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>
/// The parts of a device that all of the family have alike: reset, NVM, PHY, link, addresses, filters. Control path,
/// one thread at a time.
/// </summary>
/// <param name="name">The port's name, for messages.</param>
/// <param name="registers">BAR 0.</param>
internal sealed partial class IntelDevice(string name, Mmio registers)
{
    private const int ResetTimeoutUs = 100_000;

    /// <summary>BAR 0.</summary>
    internal Mmio Registers { get; } = registers;

    /// <summary>Firmware or hardware sets the PHY up after a reset (82574): MDIO is ours across the reset, 4.5.2, and
    /// the PHY is left alone for 25 ms after, as DPDK does.</summary>
    internal bool FirmwareSetsPhy { get; set; }

    /// <summary>The device answers. One that is gone or switched off reads as all ones; in QEMU as zeros, which these
    /// two never are together (a reset leaves CTRL with its full-duplex bit).</summary>
    internal bool Answers => Registers.Read(IntelRegs.Status) is uint status && status != uint.MaxValue
        && (status | Registers.Read(IntelRegs.Ctrl)) != 0;

    /// <summary>
    /// Resets the device to what its NVM says; nothing is received, sent or signalled after. 82574 10.2.2.1.
    /// </summary>
    /// <exception cref="DeviceException">It does not answer, or not in time.</exception>
    internal void Reset()
    {
        RequireAnswer();
        Registers.Write(IntelRegs.Imc, uint.MaxValue);
        Registers.Write(IntelRegs.Rctl, 0);
        Registers.Write(IntelRegs.Tctl, IntelRegs.TctlPadShort);
        // No new DMA, and the end of what is under way; where that does not come, the reset ends it (82574 3.1.3.10).
        Registers.SetBits(IntelRegs.Ctrl, IntelRegs.CtrlMasterDisable);
        TryWait(IntelRegs.Status, IntelRegs.StatusMasterEnabled, 0, ResetTimeoutUs);
        bool ours = FirmwareSetsPhy && TakePhy!();   // a reset gives MDIO to the firmware: not while it is in use
        Registers.SetBits(IntelRegs.Ctrl, IntelRegs.CtrlReset);
        Delay(3000);      // registers must not be touched for 1 ms; 3 ms for the NVM to be read again
        RequireAnswer();
        Registers.PollUntil(IntelRegs.Ctrl, IntelRegs.CtrlReset, 0, ResetTimeoutUs);
        if (ours)
            GivePhy!();
        // Never comes where there is no NVM, as in some models; everything it would have set is set here.
        TryWait(IntelRegs.Eecd, IntelRegs.EecdAutoReadDone, IntelRegs.EecdAutoReadDone, 10_000);
        if (FirmwareSetsPhy)
            Delay(25_000);
        Registers.Write(IntelRegs.Imc, uint.MaxValue);
        _ = Registers.Read(IntelRegs.Icr);
        Registers.ClearBits(IntelRegs.Ctrl, IntelRegs.CtrlMasterDisable);
        Registers.SetBits(IntelRegs.CtrlExt, IntelRegs.CtrlExtDriverLoaded);   // firmware leaves the device to us
        for (int i = 0; i < IntelRegs.MtaWords; i++)
            Registers.Write(IntelRegs.Mta(i), 0);
        for (int i = 0; i < IntelRegs.VftaWords; i++)
            Registers.Write(IntelRegs.Vfta(i), 0);
        for (int i = 1; i < IntelRegs.Addresses; i++)
            SetAddress(i, default, valid: false);
    }

    /// <summary>Hands the device back: reset, and firmware may have it.</summary>
    internal void Release()
    {
        if (!Answers)
            return;
        Reset();
        Registers.ClearBits(IntelRegs.CtrlExt, IntelRegs.CtrlExtDriverLoaded);
    }

    /// <summary>Makes sure that writes before have reached the device.</summary>
    internal void Flush() => _ = Registers.Read(IntelRegs.Status);

    /// <summary>Waits a while for bits to have a value.</summary>
    /// <returns>Whether they have.</returns>
    internal bool TryWait(RwReg32 register, uint mask, uint value, int timeoutUs)
    {
        long start = Stopwatch.GetTimestamp();
        while ((Registers.Read(register) & mask) != value)
        {
            if (Stopwatch.GetElapsedTime(start).TotalMicroseconds > timeoutUs)
                return false;
            Thread.Yield();
        }
        return true;
    }

    /// <summary>Time the hardware needs without being looked at.</summary>
    private static void Delay(int us)
    {
        long start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start).TotalMicroseconds < us)
            Thread.Yield();
    }

    private void RequireAnswer()
    {
        if (!Answers)
            throw new DeviceException($"device '{name}' does not answer",
                why: $"its registers read as 0x{Registers.Read(IntelRegs.Status):x}: it is gone, its power or memory "
                    + "is off, or its link to the machine is",
                fix: "look at dmesg; try: echo 1 | sudo tee /sys/bus/pci/devices/ADDRESS/reset, or a cold start",
                see: "docs/setup/iommu.md");
    }
}

/// <summary>Addresses, multicast and VLAN filters, RSS.</summary>
internal sealed partial class IntelDevice
{
    /// <summary>The address the NVM gave the device. 82574 10.2.5.22, 10.2.5.23.</summary>
    /// <exception cref="DeviceException">There is none.</exception>
    internal MacAddress ReadAddress()
    {
        Span<byte> bytes = stackalloc byte[6];
        BitConverter.TryWriteBytes(bytes, Registers.Read(IntelRegs.Ral(0)));
        BitConverter.TryWriteBytes(bytes[4..], (ushort)Registers.Read(IntelRegs.Rah(0)));
        MacAddress address = MacAddress.Read(bytes);
        if (address.Value == 0 || address.IsMulticast)
            throw new DeviceException($"device '{name}' has no address", why: $"its NVM gave it {address}",
                fix: "the NVM is empty or spoilt; the maker's tools can write it");
        return address;
    }

    /// <summary>Receives frames for an address, or not, by a place of the device's list.</summary>
    internal void SetAddress(int place, MacAddress address, bool valid)
    {
        Span<byte> bytes = stackalloc byte[8];
        address.Write(bytes);
        uint low = BitConverter.ToUInt32(bytes), high = BitConverter.ToUInt16(bytes[4..]);
        (RwReg32 ral, RwReg32 rah) = place < IntelRegs.Addresses ? (IntelRegs.Ral(place), IntelRegs.Rah(place))
            : (IgbRegs.Ral2(place - IntelRegs.Addresses), IgbRegs.Rah2(place - IntelRegs.Addresses));
        Registers.Write(rah, 0);         // not valid while it is half written
        Registers.Write(ral, low);
        Registers.Write(rah, high | (valid ? IntelRegs.RahValid : 0));
    }

    /// <summary>Lets multicast frames of a list through, by a hash of 12 bits: others may come too. 82574 10.2.5.21.
    /// </summary>
    internal void SetMulticast(IReadOnlyList<MacAddress> addresses)
    {
        Span<uint> table = stackalloc uint[IntelRegs.MtaWords];
        table.Clear();
        foreach (MacAddress address in addresses)
        {
            if (!address.IsMulticast)
                continue;
            uint hash = MulticastHash(address);
            table[(int)(hash >> 5)] |= 1u << (int)(hash & 31);
        }
        for (int i = 0; i < table.Length; i++)
            Registers.Write(IntelRegs.Mta(i), table[i]);
    }

    /// <summary>RCTL.MO = 0: bits 47:36 of the address, its last byte the highest.</summary>
    internal static uint MulticastHash(MacAddress address)
    {
        uint last = (uint)(address.Value & 0xff), before = (uint)(address.Value >> 8 & 0xff);
        return (last << 8 | before) >> 4 & 0xfff;
    }

    /// <summary>Lets a VLAN through, or not.</summary>
    internal void SetVlan(ushort vlan, bool on)
    {
        uint bit = 1u << (vlan & 31);
        if (on)
            Registers.SetBits(IntelRegs.Vfta(vlan >> 5), bit);
        else
            Registers.ClearBits(IntelRegs.Vfta(vlan >> 5), bit);
    }

    /// <summary>Sets the key, and what is hashed. 82576 7.1.1.7.</summary>
    /// <param name="key">40 bytes.</param>
    /// <param name="control">For MRQC.</param>
    internal void SetHash(ReadOnlySpan<byte> key, uint control)
    {
        for (int i = 0; i < IntelRegs.RssrkWords; i++)
            Registers.Write(IntelRegs.Rssrk(i), BitConverter.ToUInt32(key[(i * 4)..]));
        Registers.Write(IntelRegs.Mrqc, control);
    }

    /// <summary>Sets the redirection table.</summary>
    /// <param name="queues">128 of them.</param>
    /// <param name="shift">Where in its byte an entry has its queue.</param>
    internal void SetRedirection(ReadOnlySpan<ushort> queues, int shift)
    {
        for (int i = 0; i < IntelRegs.RetaWords; i++)
        {
            uint word = 0;
            for (int j = 0; j < 4; j++)
                word |= (uint)queues[i * 4 + j] << (shift + 8 * j);
            Registers.Write(IntelRegs.Reta(i), word);
        }
    }
}
