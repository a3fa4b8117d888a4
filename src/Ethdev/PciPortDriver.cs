namespace Dataplane;

/// <summary>
/// A kind of port on a PCI function that is bound to vfio-pci. <see cref="PortContext.Function"/> is the open function;
/// the port owns it once <see cref="PortDriver.Create"/> has returned.
/// </summary>
public abstract class PciPortDriver : PortDriver
{
    /// <summary>The functions it drives.</summary>
    public abstract IReadOnlyList<PciId> Ids { get; }

    /// <summary>Address bits its devices can put on the bus, 32 to 64: memory is mapped below that.</summary>
    public virtual int DmaAddressBits => 64;
}
