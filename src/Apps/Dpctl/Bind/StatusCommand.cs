using System.Text.Json;
using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary>A PCI function as <c>dpctl status</c> shows it.</summary>
/// <param name="Address">Where it sits.</param>
/// <param name="Id">Vendor and device, as in <c>8086:10c9</c>.</param>
/// <param name="Name">What it is called; null where no pci.ids knows it.</param>
/// <param name="Driver">The kernel driver that has it; null for none.</param>
/// <param name="Interfaces">Interfaces of the kernel on it, with their state.</param>
/// <param name="IommuGroup">Its IOMMU group, <c>noiommu-N</c> for one that VFIO made up; null for none.</param>
/// <param name="GroupMembers">The other functions in it, with the drivers that have them.</param>
/// <param name="NumaNode">Its NUMA node.</param>
/// <param name="PhysicalFunction">The function it is a virtual one of; null where it is none.</param>
/// <param name="VirtualFunctions">How many virtual functions it has, and can have, as in <c>2/7</c>; null without
/// SR-IOV.</param>
/// <param name="OurDriver">Our driver for it; null for none.</param>
/// <param name="Next">How to make a port of it, or why it cannot be one.</param>
internal sealed record FunctionStatus(string Address, string Id, string? Name, string? Driver,
    IReadOnlyList<string> Interfaces, string? IommuGroup, IReadOnlyList<string> GroupMembers, int NumaNode,
    string? PhysicalFunction, string? VirtualFunctions, string? OurDriver, string Next);

/// <summary><c>dpctl status</c>.</summary>
internal static class StatusCommand
{
    internal static int Run(Host host, IReadOnlyList<PortDriver> drivers, IAnsiConsole console, TextWriter? json,
        bool all)
    {
        IReadOnlyList<PciDevice> devices = host.ScanPci();
        PciDevice[] shown = [.. devices.Where(device => all || device.IsNetwork)];
        IReadOnlyDictionary<string, string> names = PciNames.Of(host, shown);
        FunctionStatus[] rows = [.. shown.Select(device => Describe(host, device, devices, drivers, names))];
        if (json != null)
            json.WriteLine(JsonSerializer.Serialize(rows, DpctlJson.Default.FunctionStatusArray));
        else
            Print(rows, console);
        return CommandLine.Ok;
    }

    /// <summary>Our driver for a function, or null.</summary>
    internal static PciPortDriver? DriverOf(PciDevice device, IReadOnlyList<PortDriver> drivers) =>
        drivers.OfType<PciPortDriver>().FirstOrDefault(driver => driver.Ids.Any(id => id.Matches(device)));

    /// <summary>How to make a port of a function, or why it cannot be one.</summary>
    internal static string NextStep(PciDevice device, PciPortDriver? ours) => ours == null
        ? device.IsNetwork ? "no driver of ours serves it yet" : "no network device"
        : device.IsBoundToVfio ? $"-a {device.Address}" : $"sudo dpctl bind {device.Address}";

    private static FunctionStatus Describe(Host host, PciDevice device, IReadOnlyList<PciDevice> devices,
        IReadOnlyList<PortDriver> drivers, IReadOnlyDictionary<string, string> names)
    {
        PciPortDriver? ours = DriverOf(device, drivers);
        string[] members = [.. devices.Where(other => other.IommuGroup == device.IommuGroup
            && device.IommuGroup != null && other.Address != device.Address)
            .Select(other => $"{other.Address} {other.KernelDriver ?? "no driver"}")];
        return new FunctionStatus(device.Address.ToString(), PciNames.Key(device),
            names.GetValueOrDefault(PciNames.Key(device)), device.KernelDriver,
            [.. device.Interfaces.Select(name =>
                $"{name} {host.Read($"/sys/class/net/{name}/operstate") ?? "unknown"}")],
            device.IommuGroup == null ? null : $"{(device.IsNoIommu ? "noiommu-" : "")}{device.IommuGroup}", members,
            device.NumaNode, device.PhysicalFunction?.ToString(), device.MaxVirtualFunctions == 0 ? null
            : $"{device.VirtualFunctions.Count}/{device.MaxVirtualFunctions}", ours?.Name, NextStep(device, ours));
    }

    private static void Print(FunctionStatus[] rows, IAnsiConsole console)
    {
        if (rows.Length == 0)
        {
            console.WriteLine("no PCI network functions; --all lists every function");
            return;
        }
        Table table = new();
        foreach (string column in (string[])["PCI", "Device", "Driver", "Interface", "Group", "With", "Node", "VFs",
            "Our driver", "Next"])
            table.AddColumn(new TableColumn(column).NoWrap());
        foreach (FunctionStatus row in rows)
            table.AddRow(((string[])[row.Address, $"[{row.Id}] {row.Name}".TrimEnd(), row.Driver ?? "none",
                Lines(row.Interfaces), row.IommuGroup ?? "-", Lines(row.GroupMembers), $"{row.NumaNode}",
                row.PhysicalFunction == null ? row.VirtualFunctions ?? "-" : "of " + row.PhysicalFunction,
                row.OurDriver ?? "-", row.Next]).Select(cell => new Text(cell)));
        console.Write(table);
    }

    private static string Lines(IReadOnlyList<string> items) => items.Count == 0 ? "-" : string.Join('\n', items);
}
