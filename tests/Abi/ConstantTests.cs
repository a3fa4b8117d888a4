using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Dataplane.Native;

namespace Dataplane.Tests;

public partial class ConstantTests
{
    /// <summary>Which headers define the constants of a class of src/Native; to add a class, add a line.</summary>
    private static readonly Dictionary<string, string> s_headers = new()
    {
        ["Bpf"] = "linux/bpf.h",
        ["Clock"] = "time.h",
        ["Epoll"] = "sys/epoll.h",
        ["Eventfd"] = "sys/eventfd.h",
        ["Fcntl"] = "fcntl.h sys/file.h",
        ["Filter"] = "linux/filter.h",
        ["IfLink"] = "linux/netlink.h linux/if_link.h linux/rtnetlink.h",
        ["IfPacket"] = "linux/if_packet.h linux/if_ether.h",
        ["IfTun"] = "sys/ioctl.h linux/if_tun.h",
        ["IfXdp"] = "linux/if_xdp.h",
        ["Mempolicy"] = "linux/mempolicy.h",
        ["Mman"] = "sys/mman.h linux/memfd.h",
        ["Netlink"] = "linux/netlink.h",
        ["SockIos"] = "sys/ioctl.h net/if.h net/if_arp.h",
        ["Socket"] = "sys/socket.h",
        ["Statfs"] = "linux/magic.h",
        ["Timerfd"] = "sys/timerfd.h",
        ["Uio"] = "limits.h",
        ["Unistd"] = "unistd.h",
        ["Vfio"] = "sys/ioctl.h linux/vfio.h",
        ["VirtioConfig"] = "linux/virtio_config.h",
        ["VirtioNet"] = "linux/virtio_net.h",
        ["VirtioPci"] = "linux/virtio_pci.h",
        ["VirtioRing"] = "linux/virtio_ring.h",
    };

    /// <summary>The same for headers newer than Debian 12's, with a macro that older ones do not define.</summary>
    private static readonly Dictionary<string, (string Headers, string Macro)> s_newerHeaders = new()
    {
        ["Iommufd"] = ("sys/ioctl.h linux/iommufd.h", "IOMMU_FAULT_QUEUE_ALLOC"),
        ["VfioCdev"] = ("sys/ioctl.h linux/vfio.h", "VFIO_DEVICE_BIND_IOMMUFD"),
    };

    /// <summary>Names that are composed in C.</summary>
    private static readonly Dictionary<string, string> s_composed = new() { ["BPF_RET_K"] = "BPF_RET | BPF_K" };

    /// <summary>Names these headers do not have, so nothing here checks them.</summary>
    private static readonly string[] s_unchecked =
    [
        "VFIO_PCI_HOT_RESET_FLAG_DEV_ID", "VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED",   // since 6.6
        "VFIO_PCI_DEVID_OWNED",         // since 6.6
        "VLAN_HLEN",                    // linux/if_vlan.h, not given to user space
        "IOMMU_HW_INFO_TYPE_ARM_SMMUV3", "IOMMU_IOAS_MAP_FILE",   // since 6.13; backports have 6.12
        "VFIO_DEVICE_BIND_FLAG_TOKEN",  // since 6.17
        "VIRTIO_NET_HDR_GSO_UDP_L4",    // since linux-libc-dev 6.2; Debian 12 has 6.1
        "VIRTIO_NET_F_HOST_USO",        // likewise
        "XDP_USE_SG", "XDP_PKT_CONTD",  // since linux-libc-dev 6.6
        "XDP_MAX_TX_SKB_BUDGET",        // since 6.17
        "VIRTIO_F_NOTIFICATION_DATA",   // since linux-libc-dev 6.4
    ];

    public static IEnumerable<ITheoryDataRow> Classes =>
        s_headers.Keys.Select(name => new TheoryDataRow<string>(name));

    [Theory]
    [MemberData(nameof(Classes))]
    public void Constants_OfANativeClass_EqualTheHeaders(string name)
    {
        Type type = NativeClasses().SingleOrDefault(type => type.Name == name)
            ?? throw new InvalidOperationException($"src/Native has no class {name} with constants: take its row out");
        Compare(s_headers[name], [.. Constants(type).Select(field => (field.Name,
            s_composed.GetValueOrDefault(field.Name, field.Name), Value(field)))],
            "linux-libc-dev libc6-dev");
    }

    public static IEnumerable<ITheoryDataRow> NewerClasses =>
        s_newerHeaders.Keys.Select(name => new TheoryDataRow<string>(name));

    [Theory]
    [MemberData(nameof(NewerClasses))]
    public void Constants_OfANewerHeader_EqualIt(string name)
    {
        Type type = NativeClasses().Single(type => type.Name == name);
        (string headers, string macro) = s_newerHeaders[name];
        Compare(headers, [.. Constants(type).Select(field => (field.Name, field.Name, Value(field)))],
            "-t bookworm-backports linux-libc-dev", macro: macro);
    }

    [Fact]
    public void NativeClass_WithConstants_HasARow() =>
        Assert.Empty(NativeClasses().Select(type => type.Name).Except(s_headers.Keys).Except(s_newerHeaders.Keys));

    [Fact]
    public void Errno_EveryName_EqualsErrnoH() =>
        Compare("errno.h", [.. Enum.GetValues<Errno>().Where(errno => errno != Errno.None)
            .Select(errno => (errno.ToString(), errno.ToString(), (long)errno))], "libc6-dev");

    /// <summary>Compares numbers of ours with expressions in C, one by one, by name.</summary>
    internal static void Compare(string headers, IReadOnlyList<(string Ours, string C, long Value)> rows,
        string package, string? pkgConfig = null, string? macro = null)
    {
        Assert.NotEmpty(rows);
        long[] values = CProbe.Evaluate(headers, [.. rows.Select(row => row.C)], package, pkgConfig, macro);
        Assert.Equal(rows.Zip(values, (row, value) => $"{row.Ours} = 0x{value:x}"),
            rows.Select(row => $"{row.Ours} = 0x{row.Value:x}"));
    }

    private static IEnumerable<Type> NativeClasses() => typeof(Mman).Assembly.GetTypes()
        .Where(type => type is { IsAbstract: true, IsSealed: true, Namespace: "Dataplane.Native" }
            && Constants(type).Any());

    private static IEnumerable<FieldInfo> Constants(Type type) =>
        type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic)
            .Where(field => field.IsLiteral && CName().IsMatch(field.Name) && !s_unchecked.Contains(field.Name));

    private static long Value(FieldInfo field) => field.GetRawConstantValue() switch
    {
        ulong value => unchecked((long)value),
        { } value => Convert.ToInt64(value, CultureInfo.InvariantCulture),
        null => throw new InvalidOperationException($"{field.Name} has no value"),
    };

    [GeneratedRegex("^[A-Z][A-Z0-9]*_[A-Z0-9_]+$|^[A-Z]{2,}[A-Z0-9]*$")]
    private static partial Regex CName();
}
