using System.Text.Json;
using Dataplane.Dpctl;
using Dataplane.Pmd;

namespace Dataplane.Tests;

public sealed class DpctlPortsTests : IDisposable
{
    private readonly FakeHost _host = new();

    public void Dispose() => _host.Dispose();

    private sealed class PacketDriver : PortDriver
    {
        public override string Name => "net_af_packet";

        public override string Help => "iface=NAME";

        public override Port Create(PortContext context) => throw new NotSupportedException();
    }

    private FakeHost Machine()
    {
        const string nic = "/sys/devices/pci0000:00/0000:00:1c.0/0000:3b:00.0",
            virtio = "/sys/devices/pci0000:00/0000:00:03.0";
        return _host.With($"{nic}/net/enp59s0/mtu", "9000").With($"{nic}/net/enp59s0/address", "02:00:00:00:00:01")
            .With($"{nic}/net/enp59s0/operstate", "up").With($"{nic}/class", "0x020000")
            .WithLink($"{nic}/net/enp59s0/device", "../../../0000:3b:00.0")
            .With("/sys/bus/pci/drivers/ice/bind", "").WithLink($"{nic}/driver", "../../../../bus/pci/drivers/ice")
            .With("/sys/kernel/iommu_groups/42/type", "DMA")
            .WithLink($"{nic}/iommu_group", "../../../../kernel/iommu_groups/42")
            .WithLink("/sys/class/net/enp59s0", "../../devices/pci0000:00/0000:00:1c.0/0000:3b:00.0/net/enp59s0")
            .WithLink("/sys/bus/pci/devices/0000:3b:00.0", "../../../devices/pci0000:00/0000:00:1c.0/0000:3b:00.0")
            .With($"{virtio}/virtio2/net/eth0/mtu", "1500")
            .WithLink($"{virtio}/virtio2/net/eth0/device", "../../../virtio2")
            .With("/sys/bus/virtio/drivers/virtio_net/bind", "")
            .WithLink($"{virtio}/virtio2/driver", "../../../../bus/virtio/drivers/virtio_net")
            .WithLink("/sys/class/net/eth0", "../../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0")
            .With("/sys/devices/virtual/net/lo/mtu", "65536")
            .WithLink("/sys/class/net/lo", "../../devices/virtual/net/lo")
            .With("/sys/class/net/bonding_masters", "")
            .With("/sys/bus/pci/devices/0000:3b:00.1/class", "0x020000")
            .With("/sys/bus/pci/devices/0000:3b:00.1/vendor", "0x8086")
            .With("/sys/bus/pci/devices/0000:3b:00.1/device", "0x1592").With("/sys/bus/pci/drivers/vfio-pci/bind", "")
            .WithLink("/sys/bus/pci/devices/0000:3b:00.1/driver", "../../drivers/vfio-pci")
            .With("/sys/bus/pci/devices/0000:00:1f.0/class", "0x060100")
            .With("/proc/net/route", "Iface\tDestination\tGateway\n"
                + "enp59s0\t00000000\t0101A8C0\neth0\t0001A8C0\t00000000");
    }

    [Fact]
    public void Interfaces_Nic_HasDriverAddressAndGroup()
    {
        NetDevice nic = NetDevice.ReadAll(Machine(), [new PacketDriver()]).Single(netdev => netdev.Name == "enp59s0");
        Assert.Equal(("ice", "02:00:00:00:00:01", 9000L, "up", "0000:3b:00.0", "42", true),
            (nic.Driver, nic.Mac, nic.Mtu, nic.State, nic.Pci, nic.IommuGroup, nic.HasDefaultRoute));
        Assert.Matches("^--vdev net_af_packet[0-9],iface=enp59s0$", Assert.Single(nic.Vdevs));
    }

    [Fact]
    public void Interfaces_VirtioAndLoopback_AreToldApart()
    {
        IReadOnlyList<NetDevice> all = NetDevice.ReadAll(Machine(), []);
        Assert.Equal(["enp59s0", "eth0", "lo"], all.Select(netdev => netdev.Name));
        Assert.Equal(("virtio_net", "0000:00:03.0", (string?)null), (all[1].Driver, all[1].Pci, all[1].IommuGroup));
        Assert.Equal((null, null, false), (all[2].Driver, all[2].Pci, all[2].HasDefaultRoute));
        Assert.All(all, netdev => Assert.Empty(netdev.Vdevs));
    }

    [Fact]
    public void Unbound_NetworkFunctionWithoutInterface_IsListedWithItsDriver() =>
        Assert.Equal([new PciNetDevice("0000:3b:00.1", "8086:1592", "vfio-pci", null,
            "no driver of ours serves it yet")], PciNetDevice.ReadUnbound(Machine(), []));

    [Fact]
    public void Ports_Text_HasInterfacesFunctionsAndEveryDriversHelp()
    {
        (int code, string output, _) = Machine().Dpctl("ports");
        Assert.Equal(CommandLine.Ok, code);
        foreach (string word in new[] { "enp59s0", "up, default route", "vfio-pci", "8086:1592" })
            Assert.Contains(word, output, StringComparison.Ordinal);
        PortDriver[] virtuals = [.. Drivers.All.Where(driver => driver is not PciPortDriver)];
        Assert.All(virtuals, driver => Assert.Contains(driver.Name + "N", output, StringComparison.Ordinal));
        Assert.All(virtuals.SelectMany(driver => driver.Help.Split(' ')),
            word => Assert.Contains(word, output, StringComparison.Ordinal));
    }

    [Fact]
    public void Ports_Json_IsComplete()
    {
        using JsonDocument json = JsonDocument.Parse(Machine().Dpctl("ports", "--json").Output);
        Assert.Equal(3, json.RootElement.GetProperty("interfaces").GetArrayLength());
        Assert.Equal(1, json.RootElement.GetProperty("unbound").GetArrayLength());
        Assert.Equal(Drivers.All.Count(driver => driver is not PciPortDriver),
            json.RootElement.GetProperty("drivers").GetArrayLength());
    }

    [Fact]
    public void Ports_EmptyTree_ListsTheDrivers()
    {
        (int code, string output, _) = _host.Dpctl("ports");
        Assert.Equal(CommandLine.Ok, code);
        Assert.Contains("Virtual devices", output, StringComparison.Ordinal);
    }
}
