using System.Globalization;
using Dataplane.Native;

namespace Dataplane.Tests;

/// <summary>Devices opened through iommufd, for real: what the kernel maps, pins and refuses.</summary>
[Guest(Machines.Intel)]
public sealed unsafe class IommufdTests(ITestOutputHelper output) : IDisposable
{
    private readonly Eal _eal = Start();

    public void Dispose() => _eal.Dispose();

    [Theory]
    [InlineData("igb")]
    [InlineData("e1000e")]
    [InlineData("virtio")]
    [InlineData("virtio-packed")]
    public void Open_BothNicsOfAPair_ShareOneAddressSpaceWithAllMemoryPinnedOnce(string model)
    {
        (string first, string second) = Guest.Pair(model);
        ulong before = DmaManager.PinnedBytes;
        PciFunction a = Open(first), b = Open(second);
        Assert.Equal("iommufd", a.Container.Backend);
        Assert.Same(a.Container, b.Container);
        ulong memory = MemoryBytes;
        Assert.Equal(memory, a.Container.MappedBytes);
        Assert.Equal(memory, DmaManager.PinnedBytes - before);
        Assert.All(_eal.Memory.Memsegs, m =>
            Assert.Equal(m.Address + a.Container.IovaDelta, a.Container.ToIova((void*)m.Address).Value));
        Assert.DoesNotContain(a.Container.Ranges, range => range.Contains(0xfee00000, 4096));   // interrupts' window
        a.Dispose();
        Assert.Equal(memory, DmaManager.PinnedBytes - before);
        b.Dispose();
        Assert.Equal(before, DmaManager.PinnedBytes);
        // What was left mapped there would be in the way now.
        PciFunction again = Open(first);
        Assert.Same(a.Container, again.Container);
        Assert.Equal(memory, again.Container.MappedBytes);
    }

    [Fact]
    public void Malloc_WithADeviceOpen_MapsTheGrowthBeforeItIsUsed()
    {
        PciFunction nic = Open(Guest.Pair("igb").First);
        void* block = _eal.Memory.Malloc(100 << 20);
        Assert.NotEqual(Iova.Bad, nic.Container.ToIova(block));
        Assert.Equal(MemoryBytes, nic.Container.MappedBytes);
    }

    [Fact]
    public void Maps_OfMemfds_AreMadeFromTheFileWhereTheKernelCan()
    {
        var container = (IommufdContainer)Open(Guest.Pair("igb").First).Container;
        Assert.Equal(Guest.Machine!.Kernel == "6.12" ? 0 : container.Maps, container.FileMaps);
    }

    [Fact]
    public void CreateContainer_ASecondAddressSpace_CopiesTheFirstWithoutPinningAgain()
    {
        (string first, string second) = Guest.Pair("igb");
        PciFunction a = Open(first);
        _eal.Memory.Malloc(100 << 20);   // two pieces there, one here
        ulong pinned = DmaManager.PinnedBytes;
        var own = (IommufdContainer)_eal.Dma.CreateContainer(IommuBackend.Iommufd);
        PciFunction b = own.Open(Device(second), 32);
        Assert.NotEqual(a.Container.IovaDelta, own.IovaDelta);
        Assert.Equal(a.Container.MappedBytes, own.MappedBytes);
        Assert.Equal((own.Maps, own.Maps), (own.CopiedMaps, (long)own.Pieces.Count));
        DmaPiece[] pieces = [.. own.Pieces];
        Assert.True(IommuView.Maps(second, pieces, out string why), why);
        Assert.Equal(pinned, DmaManager.PinnedBytes);
        a.Dispose();
        Assert.Equal(pinned, DmaManager.PinnedBytes);
        b.Dispose();
        Assert.True(DmaManager.PinnedBytes < pinned);
    }

    [Fact]
    public void Open_DeviceWith32AddressBits_HasItsMemoryBelow4GBesideOneWith64()
    {
        (string first, string second) = Guest.Pair("igb");
        PciFunction wide = Open(first), narrow = _eal.Dma.Open(Device(second), 32);
        Assert.Equal(0ul, wide.Container.IovaDelta);
        Assert.All(narrow.Container.Pieces, piece => Assert.True(piece.Iova.Value + piece.SizeBytes <= 1UL << 32));
        Assert.Equal(MemoryBytes, narrow.Container.MappedBytes);
        DmaPiece[] pieces = [.. narrow.Container.Pieces];
        Assert.True(IommuView.Maps(second, pieces, out string why), why);
    }

    [Fact]
    public void Map_AnApplicationsMemory_IsPinnedUntilUnmapped()
    {
        const nuint Bytes = 4 << 20;
        PciFunction nic = Open(Guest.Pair("igb").First);
        void* own = Mman.mmap(null, Bytes, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_PRIVATE | Mman.MAP_ANONYMOUS,
            -1, 0);
        ulong before = DmaManager.PinnedBytes;
        nic.Container.Map(own, Bytes);
        Assert.Equal(before + Bytes, DmaManager.PinnedBytes);
        Assert.Equal((ulong)own, nic.Container.ToIova(own).Value);
        Assert.Equal(Errno.EEXIST, Assert.Throws<DataplaneException>(() => nic.Container.Map(own, 4096)).Errno);
        DmaPiece[] pieces = [.. nic.Container.Pieces];
        Assert.True(IommuView.Maps(nic.Device.Address.ToString(), pieces, out string why), why);
        nic.Container.Unmap(own, Bytes);
        Assert.Equal(before, DmaManager.PinnedBytes);
        Assert.False(IommuView.Maps(nic.Device.Address.ToString(), pieces, out _));
        _ = Mman.munmap(own, Bytes);
    }

    [Fact]
    public void GetInfo_OfANic_IsWhatTheKernelShowsOfTheIommu()
    {
        PciFunction nic = Open(Guest.Pair("igb").First);
        IommuInfo info = ((IommufdContainer)nic.Container).GetInfo(nic);
        Assert.Equal(IommuKind.IntelVtd, info.Kind);
        string iommu = $"/sys/bus/pci/devices/{nic.Device.Address}/iommu/intel-iommu";
        Assert.Equal(Hex(iommu + "/cap"), info.Capabilities);
        Assert.Equal(Hex(iommu + "/ecap"), info.ExtendedCapabilities);
    }

    [Fact]
    public void LargePages_TurnedOff_MapsOrdinaryPages()
    {
        string nic = Guest.Pair("igb").First;
        var own = (IommufdContainer)_eal.Dma.CreateContainer(IommuBackend.Auto);
        Assert.True(own.LargePages);
        own.LargePages = false;
        Assert.False(own.LargePages);
        own.Open(Device(nic));
        DmaPiece[] pieces = [.. own.Pieces];
        Assert.True(IommuView.Maps(nic, pieces, out string why), why);
        Assert.DoesNotContain(IommuView.Read(nic), page => page.SizeBytes > 4096);
        own.Dispose();
        Open(nic);
        Assert.All(IommuView.Read(nic), page => Assert.True(page.SizeBytes >= 2 << 20));
    }

    [Fact]
    public void StartDirtyTracking_IommuThatCannot_SaysSoAndTheDeviceStaysAttached()
    {
        PciFunction nic = Open(Guest.Pair("igb").First);
        var container = (IommufdContainer)nic.Container;
        Assert.SkipWhen(container.GetInfo(nic).DirtyTracking, "this IOMMU can");
        var e = Assert.Throws<DeviceException>(container.StartDirtyTracking);
        Assert.Contains("its IOMMU cannot", e.Message, StringComparison.Ordinal);
        output.WriteLine(e.Message);
        DmaPiece[] pieces = [.. container.Pieces];
        Assert.True(IommuView.Maps(nic.Device.Address.ToString(), pieces, out string why), why);
    }

    [Fact]
    public void Open_DescriptorsHandedIn_UsesThemAndOpensNoNode()
    {
        PciDevice device = Device(Guest.Pair("igb").First);
        int iommu = Hand("/dev/iommu"), cdev = Hand(DmaBackends.CdevNode(device));
        using Eal eal = Start($"--iommu-fd={iommu}", "-a", $"{device.Address},vfio-fd={cdev}");
        using (PciFunction nic = eal.Dma.Open(device))
        {
            Assert.Equal(0x10c9, nic.ReadConfig16(2));
            Assert.Single(Nodes("vfio/devices"));
            Assert.Single(Nodes("iommu"));
        }
        Assert.Empty(Nodes("vfio/devices"));
        Assert.Single(Nodes("iommu"));   // is the caller's
        var e = Assert.Throws<ConfigException>(() => eal.Dma.Open(device));
        Assert.Contains("no such descriptor", e.Message, StringComparison.Ordinal);
        eal.Dispose();
        new Microsoft.Win32.SafeHandles.SafeFileHandle(iommu, ownsHandle: true).Dispose();
    }

    [Fact]
    public void Dispose_ParentKeepsTheDescriptors_EndsInOrder()
    {
        PciDevice device = Device(Guest.Pair("igb").First);
        int iommu = Hand("/dev/iommu"), cdev = Hand(DmaBackends.CdevNode(device));
        using var keeper = System.Diagnostics.Process.Start("sleep", "600");   // has them too
        try
        {
            Assert.Equal(2, Directory.EnumerateFiles($"/proc/{keeper.Id}/fd")
                .Count(fd => new FileInfo(fd).LinkTarget is { } to
                    && (to == "/dev/iommu" || to.StartsWith("/dev/vfio/", StringComparison.Ordinal))));
            using (Eal eal = Start($"--iommu-fd={iommu}", "-a", $"{device.Address},vfio-fd={cdev}"))
                eal.Dma.Open(device);
            Assert.Empty(IommuView.Read(device.Address.ToString()));
        }
        finally
        {
            keeper.Kill();
            keeper.WaitForExit();
            new Microsoft.Win32.SafeHandles.SafeFileHandle(iommu, ownsHandle: true).Dispose();
        }
        Open(device.Address.ToString());
    }

    [Fact]
    public void Open_GroupHeldByTheOldInterface_SaysWhoAndWhatToDo()
    {
        PciDevice device = Device(Guest.Pair("igb").First);
        DmaContainer type1 = _eal.Dma.CreateContainer(IommuBackend.Type1);
        using (type1.Open(device))
        {
            var e = Assert.Throws<DeviceException>(() => _eal.Dma.Open(device));
            Assert.Equal(Errno.EBUSY, e.Errno);
            Assert.Contains("old interface", e.Why, StringComparison.Ordinal);
            Assert.Contains($"process {Environment.ProcessId} ", e.Why, StringComparison.Ordinal);
        }
        Open(device.Address.ToString());
    }

    [Fact]
    public void Open_TwoBackendsInOneProcess_BothMapAllMemory()
    {
        (string first, string second) = Guest.Pair("igb");
        PciFunction a = Open(first), b = _eal.Dma.CreateContainer(IommuBackend.Type1).Open(Device(second));
        void* block = _eal.Memory.Malloc(100 << 20);
        Assert.Equal(("iommufd", "type1"), (a.Container.Backend, b.Container.Backend));
        foreach (PciFunction nic in (PciFunction[])[a, b])
        {
            Assert.NotEqual(Iova.Bad, nic.Container.ToIova(block));
            DmaPiece[] pieces = [.. nic.Container.Pieces];
            Assert.True(IommuView.Maps(nic.Device.Address.ToString(), pieces, out string why), why);
        }
    }

    private ulong MemoryBytes => (ulong)_eal.Memory.Memsegs.Sum(memseg => (long)memseg.SizeBytes);

    private static Eal Start(params string[] more) =>
        Eal.Initialize(["-l", "0", "-m", "64", "--iommu-backend=iommufd", .. more], out _);

    private static PciDevice Device(string address) =>
        PciScan.One("/sys", PciAddress.Parse(address)) ?? throw new InvalidOperationException(address);

    private PciFunction Open(string address) => _eal.Dma.Open(Device(address));

    private static ulong Hex(string file) =>
        ulong.Parse(File.ReadAllText(file).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    // Descriptors of this process on nodes below /dev that begin so.
    private static string[] Nodes(string begin) => [.. Directory.EnumerateFiles("/proc/self/fd")
        .Select(fd => new FileInfo(fd).LinkTarget ?? "")
        .Where(link => link.StartsWith("/dev/" + begin, StringComparison.Ordinal))];

    // What a parent process does before it starts this one.
    private static int Hand(string path)
    {
        Microsoft.Win32.SafeHandles.SafeFileHandle handle = Fcntl.open(path, Fcntl.O_RDWR, 0);
        Assert.False(handle.IsInvalid, path);
        int fd = (int)handle.DangerousGetHandle();
        handle.SetHandleAsInvalid();
        return fd;
    }
}
