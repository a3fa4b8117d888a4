namespace Dataplane;

/// <summary>Which functions a driver is for. Fields that are null match anything.</summary>
/// <param name="Vendor">Vendor id, e.g. 0x8086.</param>
/// <param name="Device">Device id.</param>
/// <param name="SubsystemVendor">Subsystem vendor id.</param>
/// <param name="SubsystemDevice">Subsystem device id.</param>
/// <param name="Class">Base class, subclass and interface, 24 bits, e.g. 0x020000 for Ethernet.</param>
public sealed record PciId(ushort? Vendor, ushort? Device = null, ushort? SubsystemVendor = null,
    ushort? SubsystemDevice = null, uint? Class = null)
{
    /// <summary>Whether a function is one of these.</summary>
    public bool Matches(PciDevice device) =>
        (Vendor ?? device.Vendor) == device.Vendor && (Device ?? device.Device) == device.Device
        && (SubsystemVendor ?? device.SubsystemVendor) == device.SubsystemVendor
        && (SubsystemDevice ?? device.SubsystemDevice) == device.SubsystemDevice
        && (Class ?? device.Class) == device.Class;
}
