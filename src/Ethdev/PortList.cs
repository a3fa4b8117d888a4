namespace Dataplane;

/// <summary>All ports of an environment. Control path, one thread at a time.</summary>
public sealed partial class PortList : IDisposable
{
    private readonly List<Port> _ports = [];
    private readonly PortTelemetry _telemetry;
    private readonly IReadOnlyList<PortDriver> _drivers;
    private readonly Eal _eal;

    /// <summary>An empty list that can make ports of these drivers.</summary>
    public PortList(Eal eal, IReadOnlyList<PortDriver> drivers)
    {
        _eal = eal;
        _drivers = drivers;
        _telemetry = new PortTelemetry(eal);
        Trace = new PacketTrace(eal, () => _telemetry.Ports);
        Capture = new CaptureServer(eal, () => _telemetry.Ports);
    }

    /// <summary>Follows packets through the application, for <c>dpctl trace</c>.</summary>
    public PacketTrace Trace { get; }

    /// <summary>The ports, by id. After <see cref="Detach"/> ids have gaps: <see cref="Port.Id"/> is the id, not the
    /// place.</summary>
    public IReadOnlyList<Port> Ports => _ports;

    /// <summary>What tools capture of these ports.</summary>
    internal CaptureServer Capture { get; }

    /// <summary>
    /// Makes a port of every PCI function that is bound to vfio-pci, has a driver here and is not barred by the
    /// options, by address, then of every <c>--vdev</c>. On failure those made already are closed.
    /// </summary>
    /// <remarks>A function named by <c>--allow</c> must become a port; any other that cannot is passed over with a
    /// warning, and <see cref="PassedOver"/> says why.</remarks>
    /// <exception cref="ConfigException">No driver, a name twice, bad arguments.</exception>
    /// <exception cref="DeviceException">A device cannot be used.</exception>
    public static PortList Probe(Eal eal, IReadOnlyList<PortDriver> drivers)
    {
        var list = new PortList(eal, drivers);
        try
        {
            list.ProbePci();
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

    /// <summary>Makes one more port. It gets the least id that is free.</summary>
    /// <param name="device">Name and arguments, e.g. <c>net_null0,size=64</c>, or a PCI address and arguments, e.g.
    /// <c>0000:3b:00.0,key=value</c>, whatever <c>--allow</c> and <c>--block</c> say of it.</param>
    /// <exception cref="ConfigException">No driver, a name twice, bad arguments.</exception>
    /// <exception cref="DeviceException">The device cannot be used.</exception>
    public Port Attach(string device)
    {
        DevArgs args = DevArgs.Parse(device);
        if (PciAddress.TryParse(args.Name, out PciAddress address))
            return AttachPci(address, PciBus.WithAddress(address, args));
        PortDriver driver = FindDriver(args.Name);
        RequireNew(args, "give each device a number of its own");
        return Add(driver.Create(new PortContext(_eal, args, FreeId()) { Ports = this }));
    }

    /// <summary>Takes in a port that was made by hand, and owns it. Its id must be the list's next, <see
    /// cref="FreeId"/>.</summary>
    /// <exception cref="ConfigException">The id or name is taken.</exception>
    public Port Add(Port port)
    {
        int place = _ports.FindIndex(other => other.Id >= port.Id);
        if (Find(port.Name) != null || (place >= 0 && _ports[place].Id == port.Id))
            throw new ConfigException($"port {port.Id} '{port.Name}': its id or name is taken");
        _ports.Insert(place < 0 ? _ports.Count : place, port);
        _telemetry.Show(_ports);
        return port;
    }

    /// <summary>Closes a port and takes it out. Its id may be given again.</summary>
    public void Detach(Port port)
    {
        _ports.Remove(port);
        _telemetry.Show(_ports);
        port.Dispose();
    }

    /// <summary>The port of that name, or null.</summary>
    public Port? Find(string name) => _ports.Find(port => port.Name == name);

    /// <summary>The port with that id, or null.</summary>
    public Port? Find(int id) => _ports.Find(port => port.Id == id);

    /// <summary>The least port id that is free.</summary>
    public ushort FreeId()
    {
        int id = 0;
        while (id < _ports.Count && _ports[id].Id == id)
            id++;
        return (ushort)id;
    }

    /// <summary>Closes every port, also when one fails to; the first failure is then thrown.</summary>
    public void Dispose()
    {
        Exception? failure = null;
        Trace.Dispose();
        Capture.Dispose();
        _telemetry.Dispose();
        foreach (Port port in _ports)
        {
            try
            {
                port.Dispose();
            }
            catch (DataplaneException e)
            {
                failure ??= e;
            }
        }
        _ports.Clear();
        if (failure != null)
            throw new DataplaneException("closing the ports failed", why: failure.Message, inner: failure);
    }

    private void RequireNew(DevArgs args, string fix)
    {
        if (Find(args.Name) != null)
            throw new ConfigException($"device '{args.Name}' is there already", fix: fix);
    }

    private PortDriver FindDriver(string device) => _drivers
        .Where(driver => driver is not PciPortDriver && device.StartsWith(driver.Name, StringComparison.Ordinal))
        .MaxBy(driver => driver.Name.Length)
        ?? throw new ConfigException($"no driver for device '{device}'",
            fix: "names begin with one of " + string.Join(", ", _drivers.Where(driver => driver is not PciPortDriver)
                .Select(driver => driver.Name)) + ", or are PCI addresses");
}
