namespace Dataplane.Dpctl;

/// <summary>What doctor asks of devices and of our rights to them.</summary>
internal static class DeviceChecks
{
    private const int CAP_NET_ADMIN = 12, CAP_NET_RAW = 13;   // linux/capability.h

    internal static Finding HugetlbMount(Host host)
    {
        string[] mounts = (host.Read("/proc/mounts") ?? "").Split('\n').Select(line => line.Split(' '))
            .Where(fields => fields.Length > 2 && fields[2] == "hugetlbfs").Select(fields => fields[1]).ToArray();
        if (mounts.Length == 0)
            return new("hugetlbfs", Status.Ok, "not mounted; needed for --huge-dir only");
        string[] closed = mounts.Where(mount => !host.MayReadWrite(mount)).ToArray();
        return closed.Length == 0 ? new("hugetlbfs", Status.Ok, $"{string.Join(", ", mounts)} open to this user")
            : new("hugetlbfs", Status.Warn, $"this user may not write to {string.Join(", ", closed)}: --huge-dir "
            + $"cannot name it",
                $"sudo chown $USER {string.Join(' ', closed)}");
    }

    internal static Finding Tap(Host host)
    {
        if (!host.Exists("/dev/net/tun"))
            return new("tap", Status.Warn, "/dev/net/tun is not there: no TAP port can be made", "sudo modprobe tun");
        if (!host.MayReadWrite("/dev/net/tun"))
            return new("tap", Status.Warn, "this user may not open /dev/net/tun", "sudo chmod 666 /dev/net/tun");
        return host.HasCapability(CAP_NET_ADMIN) ? new("tap", Status.Ok, "TAP ports can be made")
            : new("tap", Status.Warn, "without CAP_NET_ADMIN no TAP port can be made",
                "run as root, or: sudo setcap cap_net_raw,cap_net_admin+ep APPLICATION");
    }

    internal static Finding PacketSockets(Host host) => host.HasCapability(CAP_NET_RAW)
        ? new("af_packet", Status.Ok, "packet sockets can be opened")
        : new("af_packet", Status.Warn, "without CAP_NET_RAW no port can be made of a kernel interface",
            "run as root, or: sudo setcap cap_net_raw,cap_net_admin+ep APPLICATION");
}
