namespace Dataplane.Tests;

/// <summary>PCI functions as ports, on made-up machines.</summary>
public sealed class PortListPciTests : IDisposable
{
    private const string First = "0000:01:00.0", Second = "0000:02:00.0";

    private readonly FakeSysfs _sysfs = new();
    private readonly List<FakeFunction> _opened = [];
    private Eal? _eal;

    public void Dispose()
    {
        _eal?.Dispose();
        _sysfs.Dispose();
    }

    private PortList Probe(EalOptions? options = null, bool fails = false, Exception? openFails = null,
        Defect defect = Defect.TakesAnyArgument)
    {
        _eal?.Dispose();
        _eal = Eal.Initialize((options ?? new EalOptions()) with { NoHuge = true });
        _eal.Pci = _sysfs.Bus(_eal.Options);
        _eal.Pci.Open = (device, bits) =>
        {
            Assert.Equal(40, bits);
            if (openFails != null)
                throw openFails;
            _opened.Add(new FakeFunction(device));
            return _opened[^1];
        };
        return PortList.Probe(_eal, [new FakeDriver(Defect.TakesAnyArgument), new FakePciDriver(fails, defect)]);
    }

    private FakeSysfs TwoBound() => _sysfs.Function(Second, driver: "vfio-pci").Function(First, driver: "vfio-pci")
        .Function("0000:00:1f.0", "8086:a000", "060100", "vfio-pci");

    [Fact]
    public void Probe_BoundFunctions_ComeFirstByAddress()
    {
        TwoBound();
        using PortList ports = Probe(new EalOptions { Vdevs = ["net_fake0"] });
        Assert.Equal([First, Second, "net_fake0"], ports.Ports.Select(port => port.Name));
        Assert.Equal([0, 1, 2], ports.Ports.Select(port => (int)port.Id));
        Assert.Empty(ports.PassedOver);
    }

    [Fact]
    public void Probe_AllowWithArguments_HandsThemToTheDriverAndBarsOthers()
    {
        TwoBound();
        using PortList ports = Probe(new EalOptions { Allow = ["02:00.0,speed=1"] });
        Assert.Equal([Second], ports.Ports.Select(port => port.Name));
        Assert.Contains("--allow", Assert.Single(ports.PassedOver).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Probe_BlockAndNoPci_AreHeeded()
    {
        TwoBound();
        using (PortList ports = Probe(new EalOptions { Block = [First] }))
            Assert.Equal([Second], ports.Ports.Select(port => port.Name));
        using (PortList ports = Probe(new EalOptions { NoPci = true }))
        {
            Assert.Empty(ports.Ports);
            Assert.Contains("--no-pci", ports.NoPorts("none", "x").Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("igb", "8086:10c9", "bound to the kernel's driver igb, its interface eth1 is up")]
    [InlineData(null, "8086:10c9", "bound to no driver")]
    [InlineData("vfio-pci", "15b3:1019", "no driver for [15b3:1019]")]
    [InlineData("mlx5_core", "15b3:1019", "no driver for [15b3:1019], bound to the kernel's driver mlx5_core")]
    public void Probe_UnusableFunction_IsPassedOverUnlessNamed(string? driver, string id, string reason)
    {
        _sysfs.Function(First, id, driver: driver, netdev: driver is "igb" ? "eth1" : null);
        using PortList ports = Probe();
        Assert.Empty(ports.Ports);
        Assert.StartsWith(reason, Assert.Single(ports.PassedOver).Reason, StringComparison.Ordinal);
        ConfigException none = ports.NoPorts("there is no port", "--vdev net_wire0");
        Assert.Contains($"{First} [{id}]: {reason}", none.Message, StringComparison.Ordinal);
        Assert.Contains("--vdev net_wire0", none.Fix, StringComparison.Ordinal);
        Assert.Equal(id == "8086:10c9", none.Fix!.Contains($"dpctl bind {First}", StringComparison.Ordinal));
        DeviceException e = Assert.Throws<DeviceException>(() => Probe(new EalOptions { Allow = [First] }));
        Assert.StartsWith(reason, e.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Probe_NamedButAbsent_SaysSo() => Assert.Contains("no such PCI function",
        Assert.Throws<DeviceException>(() => Probe(new EalOptions { Allow = [First] })).Message,
        StringComparison.Ordinal);

    [Fact]
    public void Probe_CannotBeOpened_IsPassedOverUnlessNamed()
    {
        TwoBound();
        var busy = new DeviceException("cannot open it", "process 12 has it", errno: Errno.EBUSY);
        using PortList ports = Probe(openFails: busy);
        Assert.Equal(2, ports.PassedOver.Count);
        Assert.Contains("process 12 has it", ports.NoPorts("none", "x").Message, StringComparison.Ordinal);
        Assert.Same(busy, Assert.Throws<DeviceException>(() =>
            Probe(new EalOptions { Allow = [First] }, openFails: busy)));
    }

    [Fact]
    public void Probe_DriverFails_DisposesTheFunction()
    {
        TwoBound();
        Assert.Throws<DeviceException>(() => Probe(new EalOptions { Allow = [First] }, fails: true));
        Assert.Equal(1, Assert.Single(_opened).Disposals);
    }

    [Fact]
    public void Attach_FunctionThatCameLater_BecomesAPort()
    {
        using PortList ports = Probe(new EalOptions { Block = [First] });
        _sysfs.Function(First, driver: "vfio-pci");
        Port port = ports.Attach("01:00.0,x=1");
        Assert.Equal(First, port.Name);
        Assert.Throws<ConfigException>(() => ports.Attach(First));
        ports.Detach(port);
        Assert.NotEqual(0, Assert.Single(_opened).Disposals);
        Assert.Equal(First, ports.Attach(First).Name);
    }

    [Fact]
    public void Lost_Function_IsToldByItsPort()
    {
        TwoBound();
        using PortList ports = Probe();
        var events = new List<PortEvent>();
        ports.Ports[0].Events += (_, what) => events.Add(what);
        _opened[0].Lose(PortLoss.Requested);
        _opened[0].Lose(PortLoss.Error);
        ports.Detach(ports.Ports[0]);
        _opened[0].Lose(PortLoss.Requested);
        Assert.Equal([PortEvent.Removed, PortEvent.ResetNeeded, PortEvent.Closed], events);
    }

    [Fact]
    public void Dispose_DeviceDoesNotStop_CutsItOffAndCloses()
    {
        TwoBound();
        using PortList ports = Probe(defect: Defect.FailsToStop);
        using Mempool pool = Mempool.CreateMbufPool(_eal!.Memory, "p", 64, cacheSize: 0);
        Port port = ports.Ports[0];
        port.Start(new PortConfig(), pool);
        Assert.Equal("it does not stop", Assert.Throws<DeviceException>(() => ports.Detach(port)).What);
        Assert.Equal(PortState.Closed, port.State);
        Assert.False(_opened[0].BusMaster);
        Assert.NotEqual(0, _opened[0].Disposals);
    }
}
