using System.Globalization;

namespace Dataplane;

/// <summary>
/// Reads PCI functions from sysfs. Documentation/ABI/testing/sysfs-bus-pci of the Linux kernel. A function that goes
/// away meanwhile, or whose files make no sense, is left out.
/// </summary>
internal static class PciScan
{
    private const string NoIommuName = "vfio-noiommu";   // what the kernel's vfio names the groups it makes up

    /// <summary>All of them, by address.</summary>
    internal static IReadOnlyList<PciDevice> All(string sysRoot)
    {
        var found = new List<PciDevice>();
        foreach (string directory in Entries(Path.Join(sysRoot, "bus/pci/devices"), "*"))
            if (PciAddress.TryParse(Path.GetFileName(directory), out PciAddress address)
                && Read(directory, address) is { } device)
                found.Add(device);
        return [.. found.OrderBy(device => device.Address)];
    }

    /// <summary>The one at an address, or null.</summary>
    internal static PciDevice? One(string sysRoot, PciAddress address) =>
        Read(Path.Join(sysRoot, "bus/pci/devices", address.ToString()), address);

    /// <summary>A file's text without the blanks around it; null where there is none to be read.</summary>
    internal static string? ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static PciDevice? Read(string directory, PciAddress address)
    {
        if (ReadHex(directory, "vendor", ushort.MaxValue) is not { } vendor
            || ReadHex(directory, "device", ushort.MaxValue) is not { } device)
            return null;
        string? group = Target(directory, "iommu_group");
        bool hasGroup = int.TryParse(group, NumberStyles.None, CultureInfo.InvariantCulture, out int number);
        return new PciDevice
        {
            Address = address,
            SysfsPath = directory,
            Vendor = (ushort)vendor,
            Device = (ushort)device,
            SubsystemVendor = (ushort)(ReadHex(directory, "subsystem_vendor", ushort.MaxValue) ?? 0),
            SubsystemDevice = (ushort)(ReadHex(directory, "subsystem_device", ushort.MaxValue) ?? 0),
            Class = ReadHex(directory, "class", 0xff_ffff) ?? 0,
            Revision = (byte)(ReadHex(directory, "revision", byte.MaxValue) ?? 0),
            NumaNode = Math.Max(0, ReadNumber(directory, "numa_node")),   // -1: the firmware does not say
            KernelDriver = Target(directory, "driver"),
            IommuGroup = hasGroup ? number : null,
            IsNoIommu = hasGroup && ReadText(Path.Join(directory, "iommu_group/name")) == NoIommuName,
            Interfaces = Interfaces(directory),
            PhysicalFunction = AddressOf(Target(directory, "physfn")),
            VirtualFunctions = [.. Entries(directory, "virtfn*").Select(link => AddressOf(Target(directory,
                Path.GetFileName(link)))).OfType<PciAddress>().Order()],
            MaxVirtualFunctions = Math.Max(0, ReadNumber(directory, "sriov_totalvfs")),
            VfioDevice = Names(Path.Join(directory, "vfio-dev"), "vfio*").FirstOrDefault(),
        };
    }

    // A virtio function's interface hangs on the virtio device that its driver made.
    private static string[] Interfaces(string directory) =>
        [.. new[] { directory }.Concat(Entries(directory, "virtio*"))
            .SelectMany(parent => Names(Path.Join(parent, "net"), "*"))
            .Order(StringComparer.Ordinal)];

    private static uint? ReadHex(string directory, string file, uint most)
    {
        string? text = ReadText(Path.Join(directory, file));
        return text?.StartsWith("0x", StringComparison.Ordinal) == true
            && uint.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture,
                out uint value) && value <= most ? value : null;
    }

    private static int ReadNumber(string directory, string file) =>
        int.TryParse(ReadText(Path.Join(directory, file)), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture,
            out int value) ? value : 0;

    private static PciAddress? AddressOf(string? name) =>
        PciAddress.TryParse(name, out PciAddress address) ? address : null;

    // The last part of what a link points to.
    private static string? Target(string directory, string link)
    {
        try
        {
            return Path.GetFileName(new FileInfo(Path.Join(directory, link)).LinkTarget);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static IEnumerable<string> Names(string directory, string pattern) =>
        Entries(directory, pattern).Select(path => Path.GetFileName(path));

    private static string[] Entries(string directory, string pattern)
    {
        try
        {
            return Directory.GetFileSystemEntries(directory, pattern);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
