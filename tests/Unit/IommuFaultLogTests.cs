namespace Dataplane.Tests;

/// <summary>Lines as kernels have written them, and what is made of them.</summary>
public sealed unsafe class IommuFaultLogTests : IDisposable
{
    private readonly Memory _memory = Memory.Create(new EalOptions { NoHuge = true, MemoryMb = 1 });
    private readonly ListLogger _log = new();
    private readonly FakeContainer _container;
    private readonly PciFunction _nic;
    private readonly IommuFaultLog _faults;
    private long _nowMs = 1000;

    public IommuFaultLogTests()
    {
        _container = new FakeContainer(_memory);
        _nic = _container.Open(Device(0, 3));
        _container.Open(Device(0, 4));
        _faults = new(_log, () => _container.Functions, () => _nowMs);
    }

    public void Dispose()
    {
        _faults.Dispose();
        _container.Dispose();
        _memory.Dispose();
    }

    [Theory]
    [InlineData("DMAR: [DMA Read NO_PASID] Request device [03:00.0] fault addr 0x7f0012340000 [fault reason 0x06] PTE "
        + "Read access is not set", "03:00.0", 0x7f0012340000, false)]
    [InlineData("DMAR: [DMA Write NO_PASID] Request device [0000:03:00.0] fault addr 0xfffff000 [fault reason 0x05] "
        + "PTE Write access is not set", "03:00.0", 0xfffff000, true)]
    [InlineData("DMAR: [DMA Write PASID 0x1] Request device [3b:1f.7] fault addr 0x1000 [fault reason 0x05] x",
        "3b:1f.7", 0x1000, true)]
    [InlineData("DMAR: [DMA Read] Request device [00:02.0] PASID ffffffff fault addr 6df084000 [fault reason 06] PTE",
        "00:02.0", 0x6df084000, false)]
    [InlineData("DMAR:[DMA Write] Request device [00:02.0] fault addr 6df084000 ", "00:02.0", 0x6df084000, true)]
    [InlineData("vfio-pci 0000:04:10.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0037 address=0x7b657064 "
        + "flags=0x0000]", "04:10.0", 0x7b657064, false)]
    [InlineData("vfio-pci 0000:04:10.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0037 address=0x7b657064 "
        + "flags=0x0030]", "04:10.0", 0x7b657064, true)]
    [InlineData("AMD-Vi: Event logged [IO_PAGE_FAULT device=0a:00.0 domain=0x001d address=0x000000000637c000 "
        + "flags=0x0020]", "0a:00.0", 0x637c000, true)]
    [InlineData("virtio_iommu virtio0: page fault from EP 768 at 0x7f0012340000 [R]", "03:00.0", 0x7f0012340000, false)]
    [InlineData("virtio_iommu virtio0: page fault from EP 769 at 0x1000 [W]", "03:00.1", 0x1000, true)]
    public void Line_OfAFault_IsRead(string text, string device, long iova, bool write)
    {
        Assert.True(IommuFaultLine.TryParse($"3,1234,5678901,-;{text}\n SUBSYSTEM=pci\n", out IommuFaultLine fault));
        Assert.Equal(PciAddress.Parse(device), fault.Address);
        Assert.Equal(((ulong?)iova, write), (fault.Iova, fault.Write));
    }

    [Theory]
    [InlineData("3,1,2,-;DMAR: DRHD: handling fault status reg 2")]
    [InlineData("3,1,2,-;DMAR: [INTR-REMAP] Request device [03:00.0] fault index 0x12 [fault reason 0x25] Blocked")]
    [InlineData("3,1,2,-;DMAR: [DMA Read NO_PASID] Request device [zz:00.0] fault addr 0x1000 [fault reason 0x06] x")]
    [InlineData("3,1,2,-;DMAR: [DMA Read NO_PASID] Request device [03:00.0] fault addr 0x11112222333344445555 [f] x")]
    [InlineData("3,1,2,-;virtio_iommu virtio0: page fault from EP 99999999999 at 0x1000 [R]")]
    [InlineData("6,1,2,-;igb 0000:03:00.0 eth0: link up")]
    // Written by a process, not by the kernel: its facility is not 0.
    [InlineData("11,1,2,-;DMAR: [DMA Read NO_PASID] Request device [03:00.0] fault addr 0x1000 [fault reason 0x06] x")]
    [InlineData("")]
    [InlineData(";")]
    [InlineData("DMAR: [DMA Read] Request device [03:00.0] fault addr 0x1000")]
    public void Line_OfSomethingElse_IsLeft(string record) => Assert.False(IommuFaultLine.TryParse(record, out _));

    [Fact]
    public void Fault_OutsideTheMap_IsReportedWithTheNearestPiece()
    {
        DmaPiece piece = _container.Pieces[0];
        ulong iova = piece.Iova.Value + piece.SizeBytes + 0x2000;
        _faults.Receive(Intel("03:00.0", iova));
        string line = Assert.Single(_log.Messages);
        Assert.StartsWith($"port {_nic.Device}: the IOMMU stopped it reading at IOVA 0x{iova:x}, not mapped: ", line,
            StringComparison.Ordinal);
        Assert.Contains($"0x2000 bytes behind the nearest that is, 0x{piece.Iova.Value:x} to", line,
            StringComparison.Ordinal);
        Assert.Contains("PTE Read access", line, StringComparison.Ordinal);
        Assert.Contains("stop and start its port", line, StringComparison.Ordinal);
        Assert.Equal((1L, 1L, 0L), (_nic.Faults, _container.Faults, _container.Functions[1].Faults));
    }

    [Fact]
    public void Fault_InsideTheMap_NamesWhatIsThere()
    {
        Memzone zone = _memory.ReserveMemzone("MP_forward_0", 8192);
        ulong iova = _container.ToIova((byte*)zone.Address + 64).Value;
        _faults.Receive(Intel("03:00.0", iova));
        Assert.Contains("mapped for memzone MP_forward_0, a mempool's, at 0x40 of it", _log.Messages[0],
            StringComparison.Ordinal);
        Assert.Contains("please report it", _log.Messages[0], StringComparison.Ordinal);
        _memory.FreeMemzone(zone);
        _nowMs += 60_000;
        _faults.Receive(Intel("03:00.0", iova));
        Assert.Contains("mapped for the memseg at 0x", _log.Messages[1], StringComparison.Ordinal);
    }

    [Fact]
    public void Faults_Many_AreAllCountedAndToldNowAndThen()
    {
        for (int i = 0; i < 1000; i++)
            _faults.Receive(Intel("03:00.0", 0x1000));
        _faults.Receive(Intel("04:00.0", 0x1000));   // another function has its own turn
        Assert.Equal(2, _log.Messages.Count);
        _nowMs += 5000;
        _faults.Receive(Intel("03:00.0", 0x1000));
        Assert.Contains("1001 so far", _log.Messages[^1], StringComparison.Ordinal);
        Assert.Equal((1001L, 1002L), (_nic.Faults, _container.Faults));
    }

    [Fact]
    public void Fault_OfAFunctionThatIsNotOurs_IsLeft()
    {
        _faults.Receive(Intel("05:00.0", 0x1000));
        _faults.Receive(Intel("0001:03:00.0", 0x1000));
        PciAddress address = _nic.Device.Address;
        _nic.Dispose();
        _faults.Receive(Intel(address.ToString(), 0x1000));
        Assert.Empty(_log.Messages);
        Assert.Equal(0, _container.Faults);
    }

    // A pipe hands over records as /dev/kmsg does, one a read, when they are written one at a time.
    [Fact]
    public void Start_RecordsThatCome_AreReadUntilDispose()
    {
        string pipe = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        Assert.Equal(0, MakePipe(pipe));
        try
        {
            using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, Lcores = [new(0, Affinity.Get())] });
            using FileStream writer = new(pipe, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, 0);
            _faults.Start(eal.Interrupts, pipe);
            for (int i = 1; i <= 3; i++)
            {
                writer.Write(System.Text.Encoding.ASCII.GetBytes(Intel("03:00.0", 0x1000)));
                Assert.True(SpinWait.SpinUntil(() => _nic.Faults == i, TimeSpan.FromMinutes(1)));
            }
            _faults.Dispose();
            Assert.Equal(1, Holders(pipe));   // the writer
        }
        finally
        {
            File.Delete(pipe);
        }
    }

    [Fact]
    public void Start_LogThatMayNotBeRead_IsSaidOnce()
    {
        using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, Lcores = [new(0, Affinity.Get())] });
        _faults.Start(eal.Interrupts, "/nowhere/kmsg");
        Assert.Contains("/nowhere/kmsg cannot be read (ENOENT)", Assert.Single(_log.Messages),
            StringComparison.Ordinal);
    }

    private static int MakePipe(string path)
    {
        using var process = System.Diagnostics.Process.Start("mkfifo", path);
        process.WaitForExit();
        return process.ExitCode;
    }

    private static int Holders(string path) =>
        Directory.EnumerateFiles("/proc/self/fd").Count(fd => new FileInfo(fd).LinkTarget == path);

    private static string Intel(string device, ulong iova) => $"3,7,8,-;DMAR: [DMA Read NO_PASID] Request device "
        + $"[{device}] fault addr 0x{iova:x} [fault reason 0x06] PTE Read access is not set\n";

    private static PciDevice Device(uint domain, byte bus) => new()
    {
        Address = new(domain, bus, 0, 0), Vendor = 0x8086, Device = 0x10c9, SysfsPath = "/sys",
        KernelDriver = "vfio-pci", IommuGroup = bus,
    };
}
