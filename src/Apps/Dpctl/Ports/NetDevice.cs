using System.Text.RegularExpressions;

namespace Dataplane.Dpctl;

/// <summary>An interface of the kernel.</summary>
/// <param name="Name">As in <c>ip link</c>.</param>
/// <param name="Driver">The kernel driver behind it; null for a virtual interface.</param>
/// <param name="Mac">Its address, as the kernel writes it.</param>
/// <param name="Mtu">Bytes.</param>
/// <param name="State">up, down or unknown, as the kernel says it.</param>
/// <param name="Pci">Its PCI address; null without one.</param>
/// <param name="IommuGroup">The IOMMU group of its PCI function; null without one.</param>
/// <param name="HasDefaultRoute">The default IPv4 route leaves by it: taking it away may cut the way in.</param>
/// <param name="Vdevs">How to make a port of it.</param>
internal sealed record NetDevice(string Name, string? Driver, string Mac, long Mtu, string State, string? Pci,
    string? IommuGroup, bool HasDefaultRoute, IReadOnlyList<string> Vdevs)
{
    /// <summary>All of them, by name.</summary>
    internal static IReadOnlyList<NetDevice> ReadAll(Host host, IReadOnlyList<PortDriver> drivers)
    {
        string[] routed = (host.Read("/proc/net/route") ?? "").Split('\n').Select(line => line.Split('\t'))
            .Where(fields => fields.Length > 1 && fields[1] == "00000000").Select(fields => fields[0]).ToArray();
        return host.List("/sys/class/net").Where(name => host.Exists($"/sys/class/net/{name}/mtu"))
            .Select((name, index) => Read(host, name, index, routed.Contains(name), drivers)).ToArray();
    }

    private static NetDevice Read(Host host, string name, int index, bool hasDefaultRoute,
        IReadOnlyList<PortDriver> drivers)
    {
        string directory = $"/sys/class/net/{name}";
        string? device = host.RealPath($"{directory}/device");
        string? pci = device == null ? null : PciNetDevice.AddressPattern().Matches(device).LastOrDefault()?.Value;
        // virtio: the driver that counts is that of the PCI function's child, and the group that of the function
        // itself.
        string? group = pci == null ? null : host.RealPath($"/sys/bus/pci/devices/{pci}/iommu_group");
        return new NetDevice(name, Path.GetFileName(host.RealPath($"{directory}/device/driver")),
            host.Read($"{directory}/address") ?? "", host.ReadNumber($"{directory}/mtu") ?? 0,
            host.Read($"{directory}/operstate") ?? "unknown", pci, Path.GetFileName(group), hasDefaultRoute,
            [.. ServedBy(host, name, index, pci, drivers)]);
    }

    private static IEnumerable<string> ServedBy(Host host, string name, int index, string? pci,
        IReadOnlyList<PortDriver> drivers)
    {
        if (drivers.Any(driver => driver.Name == "net_af_packet"))
            yield return $"--vdev net_af_packet{index},iface={name}";
        PciDevice? device = host.ScanPci().FirstOrDefault(device => device.Address.ToString() == pci);
        if (device != null && StatusCommand.DriverOf(device, drivers) is { } ours)
            yield return $"{StatusCommand.NextStep(device, ours)}, then -a {pci}";
    }
}

/// <summary>A network function on the PCI bus that no kernel interface stands for.</summary>
/// <param name="Address">Its PCI address.</param>
/// <param name="Id">Vendor and device, as in <c>8086:1572</c>.</param>
/// <param name="Driver">The kernel driver that has it; null for none.</param>
/// <param name="IommuGroup">Its IOMMU group; null for none.</param>
/// <param name="Next">How to make a port of it, or why it cannot be one.</param>
internal sealed partial record PciNetDevice(string Address, string Id, string? Driver, string? IommuGroup,
    string Next)
{
    /// <summary>All of them, by address.</summary>
    internal static IReadOnlyList<PciNetDevice> ReadUnbound(Host host, IReadOnlyList<PortDriver> drivers) =>
        [.. host.ScanPci().Where(device => device.IsNetwork && device.Interfaces.Count == 0)
            .Select(device => new PciNetDevice(device.Address.ToString(), PciNames.Key(device), device.KernelDriver,
                device.IommuGroup?.ToString(), StatusCommand.NextStep(device, StatusCommand.DriverOf(device,
                drivers))))];

    [GeneratedRegex("[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\\.[0-7]")]
    internal static partial Regex AddressPattern();
}

/// <summary>A driver of ours for virtual devices.</summary>
/// <param name="Name">What device names begin with.</param>
/// <param name="Help">Its arguments.</param>
internal sealed record VirtualDriver(string Name, string Help);
