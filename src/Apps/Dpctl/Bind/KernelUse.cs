using System.Globalization;
using System.Net;

namespace Dataplane.Dpctl;

/// <summary>A reason not to take a function from the kernel.</summary>
/// <param name="Text">What the kernel does with it.</param>
/// <param name="IsWayIn">Taking it may cut the way into this machine.</param>
internal sealed record KernelUse(string Text, bool IsWayIn = false)
{
    private const string Ssh = "0016";   // port 22 in /proc/net/tcp
    private const uint RTF_LOCAL = 0x8000_0000;   // linux/ipv6_route.h

    /// <summary>All reasons for a function; none where it is idle.</summary>
    internal static IReadOnlyList<KernelUse> Of(Host host, PciDevice device)
    {
        var uses = device.Interfaces.SelectMany(name => OfInterface(host, name, depth: 0)).ToList();
        if (device.VirtualFunctions.Count > 0)
            uses.Add(new($"{device.Address} has {device.VirtualFunctions.Count} virtual functions, which would go "
                + $"with its driver (dpctl bind --vfs 0 {device.Address} removes them)"));
        if (!device.IsNetwork && device.KernelDriver != null)
            uses.Add(new($"{device.Address} is no network device (class {device.Class:x6}, driver "
                + $"{device.KernelDriver}): the machine may be running on it"));
        else if (device is { KernelDriver: not null, IsBoundToVfio: false, Interfaces.Count: 0 })
            uses.Add(new($"{device.Address} has driver {device.KernelDriver} but no interface here: it may be in "
                + "another network namespace"));
        return uses;
    }

    private static IEnumerable<KernelUse> OfInterface(Host host, string name, int depth)
    {
        IPAddress[] addresses = [.. host.AddressesOf(name).Where(address => !address.IsIPv6LinkLocal)];
        if (addresses.Length > 0)
            yield return new($"{name} has address {string.Join(", ", addresses.Select(a => a.ToString()))}");
        (int routes, bool isDefault) = Routes(host, name);
        if (isDefault)
            yield return new($"the default route leaves by {name}", IsWayIn: true);
        if (routes > 0)
            yield return new($"{routes} {(routes == 1 ? "route leaves" : "routes leave")} by {name}");
        if (HasSsh(host, addresses))
            yield return new($"an SSH session comes in by {name}", IsWayIn: true);
        // The bond, bridge or VLAN on top has the addresses and routes that count.
        foreach (string link in host.List($"/sys/class/net/{name}", "upper_*"))
        {
            string upper = link["upper_".Length..];
            bool isMaster = Path.GetFileName(host.LinkTarget($"/sys/class/net/{name}/master")) == upper;
            yield return new(isMaster ? $"{name} is a member of {upper}" : $"{upper} lies on top of {name}",
                depth < 4 && OfInterface(host, upper, depth + 1).Any(use => use.IsWayIn));
        }
    }

    private static (int Count, bool IsDefault) Routes(Host host, string name)
    {
        // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
        string[][] four = [.. Rows(host, "/proc/net/route").Where(row => row.Length > 7 && row[0] == name)];
        // Destination, its length, source, its length, next hop, metric, RefCnt, use, flags, device; the kernel's own
        // entries for link-local and multicast come with every interface that is up.
        string[][] six = [.. Rows(host, "/proc/net/ipv6_route").Where(row => row.Length > 9 && row[9] == name
            && !row[0].StartsWith("fe80", StringComparison.Ordinal)
            && !row[0].StartsWith("ff", StringComparison.Ordinal)
            && uint.TryParse(row[8], NumberStyles.AllowHexSpecifier, null, out uint flags)
            && (flags & RTF_LOCAL) == 0)];
        bool isDefault = four.Any(row => row[1] == "00000000" && row[7] == "00000000")
            || six.Any(row => row[1] == "00");
        return (four.Length + six.Length, isDefault);
    }

    private static bool HasSsh(Host host, IPAddress[] addresses) =>
        Rows(host, "/proc/net/tcp").Concat(Rows(host, "/proc/net/tcp6"))
        .Any(row => row.Length > 3 && row[3] == "01" && row[1].Split(':') is [var ip, Ssh]
            && addresses.Contains(ParseKernelAddress(ip)));

    // Words of 32 bits in the machine's order.
    private static IPAddress? ParseKernelAddress(string hex)
    {
        if (hex.Length is not (8 or 32))
            return null;
        byte[] bytes = Convert.FromHexString(hex);
        if (BitConverter.IsLittleEndian)
            for (int word = 0; word < bytes.Length; word += 4)
                bytes.AsSpan(word, 4).Reverse();
        var address = new IPAddress(bytes);
        return address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
    }

    private static IEnumerable<string[]> Rows(Host host, string path) => (host.Read(path) ?? "").Split('\n')
        .Select(line => line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries));
}
