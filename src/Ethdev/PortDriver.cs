namespace Dataplane;

/// <summary>What a driver needs to make a port.</summary>
/// <param name="Eal">The environment.</param>
/// <param name="Args">The device's name and arguments.</param>
/// <param name="Id">The port's number.</param>
public sealed record PortContext(Eal Eal, DevArgs Args, ushort Id)
{
    /// <summary>The ports made so far, for drivers whose ports know each other; null for a port made by hand.</summary>
    public PortList? Ports { get; init; }

    /// <summary>The open function, for a <see cref="PciPortDriver"/>; disposed by <see cref="Port.Dispose"/>, after
    /// <c>OnClose</c>.</summary>
    public PciFunction? Function { get; init; }
}

/// <summary>A kind of port. Stateless; one per driver, listed in the assembly that holds the drivers.</summary>
public abstract class PortDriver
{
    /// <summary>What device names begin with, e.g. <c>net_null</c> for <c>net_null0</c>.</summary>
    public abstract string Name { get; }

    /// <summary>One line of help on the driver's arguments.</summary>
    public abstract string Help { get; }

    /// <summary>Makes a port.</summary>
    /// <exception cref="ConfigException">Bad arguments.</exception>
    /// <exception cref="DeviceException">The device cannot be used.</exception>
    public abstract Port Create(PortContext context);
}
