namespace Dataplane.Tests;

public sealed class DmaManagerTests : IDisposable
{
    private readonly Memory _memory = Memory.Create(new EalOptions { NoHuge = true, MemoryMb = 1 });
    private readonly ListLogger _log = new();
    private readonly List<FakeContainer> _made = [];

    public void Dispose() => _memory.Dispose();

    [Fact]
    public void Open_DevicesAlike_ShareOneContainerAndSayWhyOnce()
    {
        using DmaManager manager = Manager(new(), "/dev/iommu", "/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1");
        PciFunction a = manager.Open(Device(0)), b = manager.Open(Device(1));
        Assert.Same(a.Container, b.Container);
        string line = Assert.Single(_log.Messages, m => m.StartsWith("IOMMU backend", StringComparison.Ordinal));
        Assert.Contains("iommufd for 0000:00:00.0: /dev/iommu and /dev/vfio/devices/vfio0 are there", line,
            StringComparison.Ordinal);
        Assert.Equal(2, _log.Messages.Count(m => m.StartsWith("IOVA: 0000:", StringComparison.Ordinal)));
    }

    [Fact]
    public void Open_DeviceWithFewerBits_GetsAContainerOfItsOwn()
    {
        using DmaManager manager = Manager(new(), "/dev/iommu", "/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1");
        PciFunction a = manager.Open(Device(0)), b = manager.Open(Device(1), 32), c = manager.Open(Device(2), 40);
        Assert.NotSame(a.Container, b.Container);
        Assert.Same(a.Container, c.Container);
        Assert.Equal(0ul, a.Container.IovaDelta);
        Assert.NotEqual(0ul, b.Container.IovaDelta);
    }

    [Theory]
    [InlineData("are there", "iommufd", "/dev/iommu /dev/vfio/devices/vfio0 /dev/vfio/5")]
    [InlineData("without CONFIG_IOMMUFD", "type1", "/dev/vfio/5 /dev/vfio/devices/vfio0")]
    [InlineData("cannot be opened (EACCES)", "type1", "!/dev/iommu /dev/vfio/5 /dev/vfio/devices/vfio0")]
    [InlineData("vfio0 cannot be opened (EACCES)", "type1", "/dev/iommu /dev/vfio/5 !/dev/vfio/devices/vfio0")]
    [InlineData("are there", "iommufd", "!/dev/iommu !/dev/vfio/5 !/dev/vfio/devices/vfio0")]
    public void Choose_ByWhatIsThere_GivesTheBackendAndTheReason(string why, string expected, string nodes)
    {
        DmaChoice choice = Backends(new(), nodes.Split(' ')).Choose(Device(0));
        Assert.Equal(expected, DmaBackends.Name(choice.Backend));
        Assert.Contains(why, choice.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Choose_NoCharacterDevice_TakesTheGroupAndSaysSo()
    {
        DmaChoice choice = Backends(new(), "/dev/iommu").Choose(Device(0) with { VfioDevice = null });
        Assert.Equal(IommuBackend.Type1, choice.Backend);
        Assert.Contains("CONFIG_VFIO_DEVICE_CDEV", choice.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Choose_DescriptorsHandedIn_NeedsNoNode()
    {
        EalOptions options = EalOptions.Parse(["--iommu-fd=5", "-a", "0000:00:00.0,vfio-fd=6"], out _);
        DmaBackends backends = Backends(options, "!/dev/iommu", "!/dev/vfio/devices/vfio0", "/dev/vfio/5");
        Assert.Equal(IommuBackend.Iommufd, backends.Choose(Device(0)).Backend);
        Assert.Equal(6, backends.DeviceFd(Device(0)));
        Assert.Null(backends.DeviceFd(Device(1)));
    }

    [Fact]
    public void Choose_NoIommu_OnlyWhenAllowed()
    {
        PciDevice device = Device(0) with { IsNoIommu = true };
        var e = Assert.Throws<DeviceException>(() => Backends(new()).Choose(device));
        Assert.Contains("--unsafe-noiommu", e.Message, StringComparison.Ordinal);
        Assert.Equal(IommuBackend.NoIommu, Backends(new() { UnsafeNoIommu = true }).Choose(device).Backend);
        Assert.Throws<DeviceException>(() => Backends(new() { UnsafeNoIommu = true,
            IommuBackend = IommuBackend.Iommufd }).Choose(device));
        e = Assert.Throws<DeviceException>(() => Backends(new() { UnsafeNoIommu = true,
            IommuBackend = IommuBackend.NoIommu }).Choose(Device(0)));
        Assert.Contains("behind one", e.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Choose_DeviceOfTheKernel_SaysHowToBindIt()
    {
        PciDevice device = Device(0) with { IommuGroup = null, VfioDevice = null, KernelDriver = "igb" };
        var e = Assert.Throws<DeviceException>(() => Backends(new()).Choose(device));
        Assert.Contains("sudo dpctl bind 0000:00:00.0", e.Message, StringComparison.Ordinal);
        Assert.Contains("igb", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Dispose_DevicesAndContainersOfTheApplication_AreClosed()
    {
        DmaManager manager = Manager(new(), "/dev/iommu", "/dev/vfio/devices/vfio0");
        manager.Open(Device(0));
        DmaContainer own = manager.CreateContainer(IommuBackend.Auto);
        own.Open(Device(1));
        Assert.Equal(2, manager.Containers.Count);
        manager.Dispose();
        manager.Dispose();
        Assert.All(_made, container => Assert.True(container.Closed));
        Assert.Throws<ObjectDisposedException>(() => manager.Open(Device(0)));
    }

    [Fact]
    public void Options_NoIommuWithoutTheSwitch_IsRefused()
    {
        Assert.Throws<ConfigException>(() => EalOptions.Parse(["--iommu-backend=noiommu"], out _));
        Assert.Throws<ConfigException>(() => EalOptions.Parse(["--unsafe-noiommu", "--no-huge"], out _));
        Assert.Throws<ConfigException>(() => EalOptions.Parse(["--unsafe-noiommu", "--iova-mode=va"], out _));
        Assert.True(MemoryConfig.From(EalOptions.Parse(["--unsafe-noiommu"], out _)).PhysicalAddresses);
    }

    private static PciDevice Device(byte number) => new()
    {
        Address = new(0, number, 0, 0), Vendor = 0x8086, Device = 0x10c9, SysfsPath = "/sys", IommuGroup = 5,
        VfioDevice = $"vfio{number}", KernelDriver = "vfio-pci",
    };

    // Nodes that may be opened; with a '!', that are there and may not.
    private static DmaBackends Backends(EalOptions options, params string[] nodes) =>
        new(options, path => nodes.Contains(path) ? Errno.None
            : nodes.Contains("!" + path) ? Errno.EACCES : Errno.ENOENT);

    private DmaManager Manager(EalOptions options, params string[] nodes) =>
        new(_memory, options, _log, Backends(options, nodes), backend =>
        {
            _made.Add(new FakeContainer(_memory, backend));
            return _made[^1];
        });
}
