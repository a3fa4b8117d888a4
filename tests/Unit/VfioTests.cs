using Dataplane.Native;

namespace Dataplane.Tests;

/// <summary>What VFIO's backends decide without a kernel: which parts of a BAR are mapped, and what refusals
/// say.</summary>
public class VfioTests
{
    private static readonly PciDevice s_device = new()
    {
        Address = PciAddress.Parse("0000:03:00.0"), Vendor = 0x8086, Device = 0x10c9, IommuGroup = 42,
        KernelDriver = "vfio-pci", SysfsPath = "/sys/bus/pci/devices/0000:03:00.0",
    };

    [Fact]
    public void Mappable_AWholeBar_IsOneArea() =>
        Assert.Equal([new(0, 0x20000)], VfioBar.Mappable(0x20000, null, null));

    [Theory]
    [InlineData(0x0, 0x50, "1000+3000")]                      // table at the start
    [InlineData(0x2010, 0xa0, "0+2000,3000+1000")]            // inside
    [InlineData(0x3000, 0x1000, "0+3000")]                    // at the end
    [InlineData(0x1ff0, 0x20, "0+1000,3000+1000")]            // over a page's edge
    [InlineData(0x0, 0x4000, "")]                             // everywhere
    [InlineData(0x8000, 0x50, "0+4000")]                      // lies: outside the BAR
    public void Mappable_WithATable_LeavesItsPagesOut(ulong offset, ulong size, string expected) =>
        Assert.Equal(expected, Text(VfioBar.Mappable(0x4000, null, new(offset, size))));

    [Fact]
    public void Mappable_SparseAreas_AreTakenAndTheHoleCutOut()
    {
        BarArea[] sparse = [new(0, 0x2000), new(0x4000, 0), new(0x8000, 0x8000)];
        Assert.Equal("0+2000,8000+8000", Text(VfioBar.Mappable(0x10000, sparse, null)));
        Assert.Equal("0+2000,8000+2000,b000+5000", Text(VfioBar.Mappable(0x10000, sparse, new(0xa800, 0x100))));
        Assert.Empty(VfioBar.Mappable(0x10000, [], null));
    }

    [Theory]
    [InlineData(0x10000, 0x1000)]                             // behind the end
    [InlineData(0xf000, 0x2000)]                              // over it
    [InlineData(0x800, 0x1000)]                               // not a page's start
    [InlineData(0x1000, 0xffff_ffff_ffff_f000)]               // wraps
    public void Mappable_AreasThatLie_AreAnError(ulong offset, ulong size) =>
        Assert.Equal(Errno.EBADMSG, Assert.Throws<DeviceException>(
            () => VfioBar.Mappable(0x10000, [new(offset, size)], null)).Errno);

    [Fact]
    public void Mappable_ABarSmallerThanAPage_IsOneArea() =>
        Assert.Equal("0+100", Text(VfioBar.Mappable(0x100, null, null)));

    [Fact]
    public void NotViable_AGroupWithKernelDrivers_NamesEachAndTheCommand()
    {
        string sys = Directory.CreateTempSubdirectory("dataplane-sys-").FullName;
        try
        {
            foreach ((string address, string? driver) in ((string, string?)[])[("0000:00:1c.0", "pcieport"),
                ("0000:03:00.0", "vfio-pci"), ("0000:03:00.1", "igb"), ("0000:03:00.2", null),
                ("0000:03:00.3", "nvme")])
            {
                string directory = $"{sys}/kernel/iommu_groups/42/devices/{address}";
                Directory.CreateDirectory(directory);
                if (driver != null)
                    File.CreateSymbolicLink($"{directory}/driver", $"../../../../bus/pci/drivers/{driver}");
            }
            DeviceException refused = VfioErrors.NotViable(s_device, 42, sys);
            Assert.Equal(Errno.EPERM, refused.Errno);
            Assert.Contains("0000:03:00.0", refused.What, StringComparison.Ordinal);
            Assert.Contains("0000:03:00.1 is bound to igb, 0000:03:00.3 is bound to nvme", refused.Why,
                StringComparison.Ordinal);
            Assert.DoesNotContain("pcieport", refused.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("03:00.2", refused.Message, StringComparison.Ordinal);
            Assert.Equal("sudo dpctl bind --group 42", refused.Fix);
        }
        finally
        {
            Directory.Delete(sys, recursive: true);
        }
    }

    [Theory]
    [InlineData(Errno.ENOENT, "bound to igb", "dpctl bind 0000:03:00.0")]
    [InlineData(Errno.EACCES, "do not let this user", "--user ")]
    [InlineData(Errno.EBUSY, "held by", "one user at a time")]
    public void GroupNode_EachRefusal_SaysWhatToDo(Errno errno, string why, string fix)
    {
        DeviceException refused = VfioErrors.GroupNode(s_device with { KernelDriver = "igb" }, "/dev/vfio/42", errno);
        Assert.Equal(errno, refused.Errno);
        Assert.Contains(why, refused.Why, StringComparison.Ordinal);
        Assert.Contains(fix, refused.Fix, StringComparison.Ordinal);
    }

    [Fact]
    public void Memlock_TooSmall_SaysHaveAndNeed()
    {
        const string Limits = "Limit                     Soft Limit           Hard Limit           Units     \n"
            + "Max locked memory         8388608              16777216             bytes     \n";
        Assert.Equal(8388608ul, MemlockLimit.Read(Limits));
        DeviceException refused = MemlockLimit.TooSmall(64 << 20, Limits);
        Assert.Contains("65536 KB", refused.What, StringComparison.Ordinal);
        Assert.Contains("8192 KB", refused.Why, StringComparison.Ordinal);
        Assert.Contains("memlock", refused.Fix, StringComparison.Ordinal);
        Assert.Null(MemlockLimit.Read(Limits.Replace("8388608 ", "unlimited", StringComparison.Ordinal)));
    }

    [Fact]
    public void HotReset_AnotherFunctionOfTheBusInUse_IsNotDone()
    {
        var function = new FakeFunction(s_device);
        var other = new FakeFunction(s_device with { Address = PciAddress.Parse("0000:03:02.1") });
        vfio_pci_dependent_device[] bus = [new() { bus = 3, devfn = 0 }, new() { bus = 3, devfn = 0x11 }];
        Assert.Null(VfioHotReset.WhyNot(function, [function], bus, 0));
        Assert.Equal("0000:03:02.1 is in use", VfioHotReset.WhyNot(function, [function, other], bus, 0));
        Assert.Null(VfioHotReset.WhyNot(function, [function, other], bus[..1], 0));
    }

    [Fact]
    public void HotReset_OfIommufd_GoesByTheKernelsIdsOfTheDevices()
    {
        const uint byDevice = Vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
            owned = byDevice | Vfio.VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
        var function = new FakeFunction(s_device);
        vfio_pci_dependent_device[] free = [new() { bus = 3, group_id = 1 }, new() { bus = 3, devfn = 0x11 }],
            used = [free[0], new() { bus = 3, devfn = 0x11, group_id = 2 }];
        Assert.Null(VfioHotReset.WhyNot(function, [function], free, owned));
        Assert.Equal("0000:03:02.1 is in use", VfioHotReset.WhyNot(function, [function], used, owned));
        Assert.Equal("some of them are not ours", VfioHotReset.WhyNot(function, [function], free, byDevice));
    }

    private static string Text(IEnumerable<BarArea> areas) =>
        string.Join(',', areas.Select(area => $"{area.Offset:x}+{area.SizeBytes:x}"));
}
