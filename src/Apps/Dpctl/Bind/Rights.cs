using System.Globalization;

namespace Dataplane.Dpctl;

/// <summary>Lets a user without privileges open bound functions.</summary>
internal sealed class Rights(Host host, Changes changes)
{
    private const string Limits = "/etc/security/limits.d", Prefix = "90-dataplane-";

    /// <summary>Mode of a device's own nodes: its user's alone. Of /dev/iommu: everybody's, as /dev/vfio/vfio is by
    /// the kernel's own choice, since it gives access to no device.</summary>
    private const UnixFileMode Own = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        All = Own | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead
            | UnixFileMode.OtherWrite;

    /// <summary>The files that open a function: by its group, and by itself where the kernel has that.</summary>
    internal static IReadOnlyList<string> NodesOf(PciDevice device)
    {
        var nodes = new List<string>();
        if (device.IommuGroup is { } group)
            nodes.Add($"/dev/vfio/{(device.IsNoIommu ? "noiommu-" : "")}{group}");
        if (device.VfioDevice != null)
            nodes.Add($"/dev/vfio/devices/{device.VfioDevice}");
        return nodes;
    }

    /// <summary>A user's number.</summary>
    /// <exception cref="ConfigException">There is no such user.</exception>
    internal uint FindUser(string name)
    {
        if (uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out uint uid))
            return uid;
        string? line = (host.Read("/etc/passwd") ?? "").Split('\n')
            .FirstOrDefault(line => line.StartsWith(name + ":", StringComparison.Ordinal));
        if (line == null && host.Run("getent", "passwd", name) is (0, { } found))
            line = found;
        return uint.TryParse(line?.Split(':').ElementAtOrDefault(2), CultureInfo.InvariantCulture, out uid) ? uid
            : throw new ConfigException($"there is no user '{name}'", fix: "give a name from: getent passwd");
    }

    /// <summary>Gives the files of bound functions to a user, and lets that user pin memory.</summary>
    /// <returns>What the user must still do, or null.</returns>
    internal string? Give(IReadOnlyList<PciDevice> bound, string user)
    {
        uint uid = FindUser(user);
        foreach (string node in bound.SelectMany(NodesOf).Distinct())
            if (changes.IsDryRun || host.Exists(node))
                changes.SetOwner(node, uid, Own);
        if (host.Exists("/dev/iommu"))
            changes.SetOwner("/dev/iommu", uid: null, All);
        string file = $"{Limits}/{Prefix}{user}.conf";
        if (uid == 0 || host.Exists(file))
            return null;
        try
        {
            changes.Write(file, $"# Made by dpctl bind --user: memory that devices reach is pinned.\n{user} - memlock "
                + "unlimited\n");
            return $"{user} may pin memory from the next login on (ulimit -l); {file} says so";
        }
        catch (DataplaneException e)
        {
            return $"{user} needs a higher limit of locked memory (ulimit -l), which could not be set: {e.Why}";
        }
    }

    /// <summary>Takes the limits back once no function is bound any more.</summary>
    internal void TakeBack()
    {
        foreach (string name in host.List(Limits, Prefix + "*.conf"))
            changes.Delete($"{Limits}/{name}");
    }
}
