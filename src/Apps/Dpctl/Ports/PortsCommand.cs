using System.Text.Json;
using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl ports</c>.</summary>
internal static class PortsCommand
{
    private const int ArgumentsWidth = 90;   // columns; a driver's help may be longer than any terminal

    internal static int Run(Host host, IReadOnlyList<PortDriver> drivers, IAnsiConsole console, TextWriter? json)
    {
        IReadOnlyList<NetDevice> interfaces = NetDevice.ReadAll(host, drivers);
        IReadOnlyList<PciNetDevice> unbound = PciNetDevice.ReadUnbound(host, drivers);
        VirtualDriver[] virtuals = drivers.Where(driver => driver is not PciPortDriver).Select(driver
            => new VirtualDriver(driver.Name, driver.Help)).ToArray();
        if (json != null)
        {
            json.WriteLine(JsonSerializer.Serialize(new PortsReport(interfaces, unbound, virtuals),
                DpctlJson.Default.PortsReport));
            return CommandLine.Ok;
        }
        PrintInterfaces(interfaces, console);
        PrintUnbound(unbound, console);
        PrintDrivers(virtuals, console);
        return CommandLine.Ok;
    }

    private static void PrintInterfaces(IReadOnlyList<NetDevice> interfaces, IAnsiConsole console)
    {
        Table table = Titled("Kernel interfaces", "Name", "Driver", "MAC", "MTU", "State", "PCI", "Group",
            "Use as a port");
        foreach (NetDevice netdev in interfaces)
            Row(table, netdev.Name, netdev.Driver ?? "virtual", netdev.Mac, $"{netdev.Mtu}",
                netdev.State + (netdev.HasDefaultRoute ? ", default route" : ""), netdev.Pci ?? "-", netdev.IommuGroup
                ?? "-", netdev.Vdevs.Count > 0 ? string.Join('\n', netdev.Vdevs) : "no driver of ours serves it yet");
        console.Write(table);
    }

    private static void PrintUnbound(IReadOnlyList<PciNetDevice> unbound, IAnsiConsole console)
    {
        if (unbound.Count == 0)
            return;
        Table table = Titled("Network functions without a kernel interface", "PCI", "Device", "Driver", "Group",
            "Use as a port");
        foreach (PciNetDevice function in unbound)
            Row(table, function.Address, function.Id, function.Driver ?? "none", function.IommuGroup ?? "-",
                function.Next);
        console.Write(table);
    }

    private static void PrintDrivers(VirtualDriver[] drivers, IAnsiConsole console)
    {
        Table table = Titled("Virtual devices", "--vdev");
        table.AddColumn(new TableColumn("Arguments").Width(ArgumentsWidth));
        foreach (VirtualDriver driver in drivers)
            Row(table, driver.Name + "N", driver.Help);
        console.Write(table);
    }

    private static Table Titled(string title, params string[] columns)
    {
        var table = new Table { Title = new TableTitle(title + ":") };
        foreach (string column in columns)
            table.AddColumn(new TableColumn(column).NoWrap());
        return table;
    }

    private static void Row(Table table, params string[] cells) =>
        table.AddRow(cells.Select(cell => new Text(cell)).ToArray());
}
