using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>Addresses, VLANs and MTU, which the physical function's driver sets for this one.</summary>
internal sealed partial class IgbvfPort
{
    private const int MaxHashes = 2 * (IgbvfRegs.MailboxWords - 1);

    /// <inheritdoc/>
    protected override void OnSetMtu(int mtu)
    {
        foreach (RxQueue? queue in RxQueues)
            if (queue != null)
                IntelPort.BufferKilobytes(this, queue.Pool, queue.Config, IgbRegs.MaxBufferKilobytes, mtu);
        lock (_lock)
            SetLongPackets(mtu);
    }

    /// <inheritdoc/>
    protected override void OnSetMacAddress(MacAddress address)
    {
        lock (_lock)
            SetOwnAddress(address);
    }

    /// <inheritdoc/>
    protected override void OnAddMacAddress(MacAddress address)
    {
        lock (_lock)
        {
            if (address.IsMulticast)
                SetMulticast([.. MacAddresses, address]);
            else
                AddUnicast(address);
        }
    }

    /// <inheritdoc/>
    protected override void OnRemoveMacAddress(MacAddress address)
    {
        MacAddress[] left = [.. MacAddresses.Where(other => other != address)];
        lock (_lock)
        {
            if (address.IsMulticast)
                SetMulticast(left);
            else
                SetUnicast(left);
        }
    }

    /// <inheritdoc/>
    protected override void OnSetAllMulticast(bool on)
    {
        lock (_lock)
            TellAllMulticast(on);
    }

    /// <inheritdoc/>
    protected override void OnSetVlanFilter(ushort vlan, bool on)
    {
        lock (_lock)
            SetVlan(vlan, on);
    }

    /// <summary>Everything a reset has made the other side forget.</summary>
    private void Apply()
    {
        if (MacAddress != _assigned)
            SetOwnAddress(MacAddress);
        if (MacAddresses.Any(address => !address.IsMulticast && address != MacAddress))
            SetUnicast(MacAddresses);
        if (MacAddresses.Any(address => address.IsMulticast))
            SetMulticast(MacAddresses);
        if (AllMulticast)
            TellAllMulticast(true);
        foreach (ushort vlan in VlanFilter)
            SetVlan(vlan, true);
        SetLongPackets(Mtu);
    }

    private void SetOwnAddress(MacAddress address) =>
        Require([MailboxMessage.SetAddress, .. Words(address)], $"have the address {address}",
            "the host has given it another, or the address is taken", "ip link set NAME vf NUMBER mac ADDRESS");

    private void SetUnicast(IReadOnlyList<MacAddress> addresses)
    {
        Require([MailboxMessage.SetAddress | MailboxMessage.ClearAddresses, 0, 0], "forget its other addresses",
            "the host has given it its address", "ip link set NAME vf NUMBER trust on");
        foreach (MacAddress address in addresses)
            if (!address.IsMulticast && address != MacAddress)
                AddUnicast(address);
    }

    private void AddUnicast(MacAddress address) =>
        Require([MailboxMessage.SetAddress | MailboxMessage.AddAddress, .. Words(address)],
            $"have one more address, {address}", "all functions share 24 of them, or the host has given it its own",
            "ip link set NAME vf NUMBER trust on");

    /// <summary>Lets multicast frames through by a hash of 12 bits: others may come too.</summary>
    private void SetMulticast(IReadOnlyList<MacAddress> addresses)
    {
        MacAddress[] groups = [.. addresses.Where(address => address.IsMulticast)];
        if (groups.Length > MaxHashes)
            throw new ConfigException($"port {Name}: cannot receive for {groups.Length} multicast addresses",
                why: $"a message to the physical function holds {MaxHashes}", fix: "use all-multicast mode");
        var message = new uint[IgbvfRegs.MailboxWords];
        message[0] = MailboxMessage.SetMulticast | (uint)groups.Length << MailboxMessage.InfoShift;
        for (int i = 0; i < groups.Length; i++)
            message[1 + i / 2] |= IntelDevice.MulticastHash(groups[i]) << 16 * (i % 2);
        Require(message, "have its multicast addresses", "its driver refuses", null);
    }

    private void TellAllMulticast(bool on) =>
        Require([MailboxMessage.SetModes | (on ? MailboxMessage.AllMulticast : 0)], "receive all multicast frames",
            "its driver refuses", "give it the addresses with AddMacAddress");

    private void SetVlan(ushort vlan, bool on) =>
        Require([MailboxMessage.SetVlan | (on ? MailboxMessage.AddVlan : 0), vlan],
            $"receive VLAN {vlan}{(on ? "" : " no more")}",
            "all functions share 32 VLANs, or the host has given it one", null);

    private void SetLongPackets(int mtu) =>
        Require([MailboxMessage.SetLongPackets, (uint)(mtu + FrameOverheadBytes + CrcBytes)], $"have MTU {mtu}",
            "its driver refuses", null);

    private void Require(Span<uint> message, string what, string why, string? fix)
    {
        if (!_ready)
            return;                 // the next start tells all of it
        uint[] again = message.ToArray();
        if (_mailbox.Ask(message))
            return;
        if ((message[0] & MailboxMessage.ClearToSend) == 0)
        {
            // The other side has been reset since, and answers nothing until this function is too.
            if (State == PortState.Started || _starting)
                throw new DeviceException($"port {Name}: its physical function has been reset and knows it no more",
                    why: "e.g. its MTU was changed, or its driver loaded anew",
                    fix: "stop the port and start it again");
            ResetFunction();
            if (_mailbox.Ask(message = again))
                return;
        }
        throw new DeviceException($"port {Name}: its physical function does not let it {what}", why, fix);
    }

    private static uint[] Words(MacAddress address)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        address.Write(bytes);
        return [BitConverter.ToUInt32(bytes), BitConverter.ToUInt32(bytes[4..])];
    }
}
