namespace Dataplane;

/// <summary>What a driver needs to make a port.</summary>
/// <param name="Eal">The environment.</param>
/// <param name="Args">The device's name and arguments.</param>
/// <param name="Id">The port's number.</param>
public sealed record PortContext(Eal Eal, DevArgs Args, ushort Id)
{
    /// <summary>The ports made so far, for drivers whose ports know each other; null for a port made by hand.</summary>
    public PortList? Ports { get; init; }
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

/// <summary>All ports of an environment. Control path, one thread at a time.</summary>
public sealed class PortList : IDisposable
{
    private readonly List<Port> _ports = [];
    private readonly IReadOnlyList<PortDriver> _drivers;
    private readonly Eal _eal;

    private PortList(Eal eal, IReadOnlyList<PortDriver> drivers)
    {
        _eal = eal;
        _drivers = drivers;
    }

    /// <summary>The ports, by id.</summary>
    public IReadOnlyList<Port> Ports => _ports;

    /// <summary>Makes a port of every <c>--vdev</c> of the environment. On failure those made already are closed.</summary>
    public static PortList Probe(Eal eal, IReadOnlyList<PortDriver> drivers)
    {
        var list = new PortList(eal, drivers);
        try
        {
            foreach (string vdev in eal.Options.Vdevs)
                list.Attach(vdev);
            return list;
        }
        catch
        {
            list.Dispose();
            throw;
        }
    }

    /// <summary>Makes one more port.</summary>
    /// <param name="device">Name and arguments, e.g. <c>net_null0,size=64</c>.</param>
    public Port Attach(string device)
    {
        DevArgs args = DevArgs.Parse(device);
        PortDriver driver = _drivers.FirstOrDefault(d => args.Name.StartsWith(d.Name, StringComparison.Ordinal))
            ?? throw new ConfigException($"no driver for device '{args.Name}'",
                fix: "names begin with one of " + string.Join(", ", _drivers.Select(d => d.Name)));
        Port port = driver.Create(new PortContext(_eal, args, (ushort)_ports.Count) { Ports = this });
        _ports.Add(port);
        return port;
    }

    /// <summary>The port of that name, or null.</summary>
    public Port? Find(string name) => _ports.Find(port => port.Name == name);

    /// <summary>Closes every port.</summary>
    public void Dispose()
    {
        foreach (Port port in _ports)
            port.Dispose();
        _ports.Clear();
    }
}
