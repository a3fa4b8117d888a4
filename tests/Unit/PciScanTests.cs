namespace Dataplane.Tests;

public sealed class PciScanTests : IDisposable
{
    private readonly FakeSysfs _sysfs = new();

    public void Dispose() => _sysfs.Dispose();

    private static string At(string address) => FakeSysfs.Place(address);

    [Fact]
    public void Scan_FullFunction_HasEverything()
    {
        string place = At("0000:3b:00.0");
        _sysfs.Function("0000:3b:00.0", driver: "vfio-pci", group: "42")
            .With($"{place}/subsystem_vendor", "0x8086").With($"{place}/subsystem_device", "0xa03c")
            .With($"{place}/revision", "0x01").With($"{place}/numa_node", "1").With($"{place}/sriov_totalvfs", "7")
            .WithLink($"{place}/virtfn0", "../0000:3b:10.0").WithLink($"{place}/virtfn1", "../0000:3b:10.2")
            .WithLink($"{place}/virtfn10", "../0000:3b:0f.0").With($"{place}/vfio-dev/vfio3/dev", "511:3")
            .With("kernel/iommu_groups/42/type", "DMA");
        PciDevice device = Assert.Single(_sysfs.Bus().Devices);
        Assert.Equal("0000:3b:00.0", device.Address.ToString());
        Assert.Equal((0x8086, 0x10c9, 0x8086, 0xa03c, 0x020000u, 1, 1), (device.Vendor, device.Device,
            device.SubsystemVendor, device.SubsystemDevice, device.Class, device.Revision, device.NumaNode));
        Assert.Equal(("vfio-pci", 42, false, "vfio3", 7), (device.KernelDriver, device.IommuGroup!.Value,
            device.IsNoIommu, device.VfioDevice, device.MaxVirtualFunctions));
        Assert.Equal(["0000:3b:0f.0", "0000:3b:10.0", "0000:3b:10.2"],
            device.VirtualFunctions.Select(address => address.ToString()));
        Assert.True(device.IsNetwork && device.IsBoundToVfio);
        Assert.Equal(Path.Join(_sysfs.Root, place), device.SysfsPath);
    }

    [Fact]
    public void Scan_VirtioAndVirtualFunction_HaveInterfaceAndParent()
    {
        _sysfs.Function("0000:00:03.0", "1af4:1041", driver: "virtio-pci")
            .With(At("0000:00:03.0") + "/virtio2/net/eth0/mtu", "1500")
            .Function("0000:3b:10.0", "8086:10ca", group: "7").WithLink(At("0000:3b:10.0") + "/physfn",
            "../0000:3b:00.0").With("kernel/iommu_groups/7/name", "vfio-noiommu");
        PciDevice[] devices = [.. _sysfs.Bus().Devices];
        Assert.Equal(["eth0"], devices[0].Interfaces);
        Assert.Equal("0000:3b:00.0", devices[1].PhysicalFunction.ToString());
        Assert.True(devices[1].IsNoIommu);
        Assert.False(devices[0].IsBoundToVfio);
    }

    [Fact]
    public void Scan_Order_IsByAddressAndDomain()
    {
        foreach (string address in new[] { "10000:00:00.0", "0000:ff:1f.7", "0000:0a:00.0", "0000:02:00.1" })
            _sysfs.Function(address);
        Assert.Equal(["0000:02:00.1", "0000:0a:00.0", "0000:ff:1f.7", "10000:00:00.0"],
            _sysfs.Bus().Devices.Select(device => device.Address.ToString()));
    }

    [Theory]
    [InlineData("vendor", "")]
    [InlineData("vendor", "8086")]
    [InlineData("vendor", "0x18086")]
    [InlineData("device", "0xzzzz")]
    [InlineData("device", "-0x1")]
    public void Scan_IdsThatMakeNoSense_LeaveTheFunctionOut(string file, string text)
    {
        _sysfs.Function("0000:01:00.0").Function("0000:02:00.0").With($"{At("0000:01:00.0")}/{file}", text);
        Assert.Equal("0000:02:00.0", Assert.Single(_sysfs.Bus().Devices).Address.ToString());
    }

    [Fact]
    public void Scan_GarbageElsewhere_IsReadAsAbsent()
    {
        string place = At("0000:01:00.0");
        _sysfs.Function("0000:01:00.0", @class: "zz", group: "../..").With($"{place}/numa_node", "-1")
            .With($"{place}/sriov_totalvfs", "many").With($"{place}/revision", new string('9', 4096))
            .With($"{place}/driver", "no link").With($"{place}/net", "no directory")
            .WithLink($"{place}/physfn", "../nowhere").WithLink($"{place}/virtfn0", "../../x")
            .With($"{place}/virtfn1", "no link").WithLink($"{place}/subsystem_vendor", "subsystem_vendor")
            .With(At("not-an-address") + "/vendor", "0x8086");
        PciDevice device = Assert.Single(_sysfs.Bus().Devices);
        Assert.Equal((0u, 0, 0, 0), (device.Class, device.NumaNode, device.MaxVirtualFunctions, device.Revision));
        Assert.Null(device.KernelDriver);
        Assert.Null(device.IommuGroup);
        Assert.Null(device.PhysicalFunction);
        Assert.Empty(device.VirtualFunctions);
        Assert.Empty(device.Interfaces);
    }

    [Fact]
    public void Scan_NoBus_IsEmpty() => Assert.Empty(_sysfs.Bus().Devices);

    [Fact]
    public void Rescan_FunctionCameAndWent_ShowsIt()
    {
        PciBus bus = _sysfs.Function("0000:01:00.0").Bus();
        Assert.Single(bus.Devices);
        _sysfs.Function("0000:02:00.0");
        Assert.Single(bus.Devices);
        Assert.Equal(2, bus.Rescan().Count);
        Assert.Equal(2, bus.Devices.Count);
        Assert.NotNull(bus.Find(PciAddress.Parse("02:00.0")));
        Assert.Null(bus.Find(PciAddress.Parse("03:00.0")));
    }

    [Fact]
    public void Options_AllowAndBlock_AreHeeded()
    {
        PciAddress first = PciAddress.Parse("0000:01:00.0"), second = PciAddress.Parse("0000:02:00.0");
        PciBus bus = _sysfs.Bus(new EalOptions { Allow = ["01:00.0,rx=[1,2],tx=3"] });
        Assert.Null(bus.WhyBarred(first));
        Assert.Contains("--allow", bus.WhyBarred(second), StringComparison.Ordinal);
        Assert.Equal("0000:01:00.0,rx=[1,2],tx=3", bus.ArgsOf(first).Text);
        Assert.Equal("0000:02:00.0", bus.ArgsOf(second).Text);
        bus = _sysfs.Bus(new EalOptions { Block = ["0000:01:00.0"] });
        Assert.Contains("--block", bus.WhyBarred(first), StringComparison.Ordinal);
        Assert.Null(bus.WhyBarred(second));
        Assert.Contains("--no-pci", _sysfs.Bus(new EalOptions { NoPci = true }).WhyBarred(first),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("net_null0", null)]
    [InlineData("01:00.0", "0000:01:00.0")]
    public void Options_AllowOfNoAddressOrTwice_IsRefused(string first, string? second) =>
        Assert.Contains("--allow", Assert.Throws<ConfigException>(() => _sysfs.Bus(new EalOptions
        {
            Allow = second == null ? [first] : [first, second],
        })).Message, StringComparison.Ordinal);
}
