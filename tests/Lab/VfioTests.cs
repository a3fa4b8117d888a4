using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>Devices opened through VFIO's groups, for real: type1 behind the IOMMU.</summary>
[Guest(Machines.Intel)]
public sealed class VfioTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);
    private readonly Eal _eal = VfioGuest.Start(IommuBackend.Type1);

    public void Dispose() => _eal.Dispose();

    public static TheoryData<string, ushort> Models => new()
    {
        { "igb", 0x10c9 }, { "e1000e", 0x10d3 }, { "virtio", 0x1041 }, { "virtio-packed", 0x1041 },
    };

    [Theory]
    [MemberData(nameof(Models))]
    public unsafe void Open_ABoundNic_GivesItsConfigurationAndMapsAllMemory(string model, ushort id)
    {
        using PciFunction function = _eal.OpenNic(Guest.Pair(model).First);
        Assert.Equal("type1", function.Container.Backend);
        Assert.Equal(id, function.ReadConfig16(2));
        Assert.Equal(0, function.ReadConfig16(4) & 4);   // bus mastering is off
        function.SetBusMaster(true);
        Assert.Equal(4, function.ReadConfig16(4) & 4);
        foreach (Memseg memseg in _eal.Memory.Memsegs)
            Assert.Equal(memseg.Address + function.Container.IovaDelta,
                function.Container.ToIova((void*)memseg.Address).Value);
        Assert.NotEmpty(function.Container.Ranges);
        Assert.Equal(1u << 12, (uint)(function.Container.PageSizes & 0xffff));
        Assert.NotEqual(0, function.MaxVectors(InterruptKind.MsiX));
    }

    [Fact]
    public void MapBar_OfAnIgb_ReadsWhatReadBarReadsAndResetForgetsWhatWasWritten()
    {
        using PciFunction function = _eal.OpenNic(Guest.Pair("igb").First);
        Mmio registers = function.MapBar(0);
        Assert.Equal(function.BarSizeBytes(0), registers.SizeBytes);
        Span<byte> bytes = stackalloc byte[4];
        function.ReadBar(0, IntelRegs.Status.Offset, bytes);
        Assert.Equal(BitConverter.ToUInt32(bytes), registers.Read(IntelRegs.Status));
        Assert.NotEqual(0u, registers.Read(IntelRegs.Status));

        function.WriteBar(0, IntelRegs.VlanEtherType.Offset, BitConverter.GetBytes(0x12345678));
        Assert.Equal(0x12345678u, registers.Read(IntelRegs.VlanEtherType));
        Assert.True(function.Reset());
        Assert.NotEqual(0x12345678u, registers.Read(IntelRegs.VlanEtherType));
        Assert.Throws<DeviceException>(() => function.MapBar(5));
        Assert.Throws<DeviceException>(() => function.ReadBar(0, function.BarSizeBytes(0) - 2, new byte[4]));
        Assert.Throws<DeviceException>(() => function.ReadConfig(4094, new byte[4]));
    }

    [Fact]
    public void Open_SeveralGroups_ShareOneContainer()
    {
        (string first, string second) = Guest.Pair("igb");
        using PciFunction a = _eal.OpenNic(first), b = _eal.OpenNic(second),
            c = _eal.OpenNic(Guest.Pair("virtio").First);
        Assert.Same(a.Container, b.Container);
        Assert.Same(a.Container, c.Container);
        a.Dispose();
        Assert.Equal(0x8086, b.ReadConfig16(0));   // the others go on
        using PciFunction again = _eal.OpenNic(first);
        Assert.Same(b.Container, again.Container);
        Assert.Equal(3, again.Container.Functions.Count);
    }

    [Fact]
    public void MsiX_EachVectorOfAnIgb_SignalsItsOwnEventfd()
    {
        using PciFunction function = _eal.OpenNic(Guest.Pair("igb").First);
        int vectors = function.MaxVectors(InterruptKind.MsiX);
        Assert.Equal(10, vectors);
        function.SetBusMaster(true);
        function.SetInterrupts(InterruptKind.MsiX, vectors);
        Mmio registers = function.MapBar(0);
        registers.Write(IntelRegs.GeneralPurposeInterrupt, IntelRegs.MultipleMsiX);
        registers.Write(IntelRegs.ExtendedMaskSet, (1u << vectors) - 1);
        for (int i = 0; i < vectors; i++)
        {
            registers.Write(IntelRegs.ExtendedCauseSet, 1u << i);
            WaitFor(function.Vector(i));
            for (int other = 0; other < vectors; other++)
                Assert.Equal(0ul, Eventfd.Drain(function.Vector(other)));
        }
        Assert.Throws<DeviceException>(() => function.SetInterrupts(InterruptKind.MsiX, vectors + 1));
    }

    [Fact]
    public void Msi_OfAnE1000e_Signals()
    {
        using PciFunction function = _eal.OpenNic(Guest.Pair("e1000e").First);
        function.SetBusMaster(true);
        Mmio registers = MapQuiet(function);
        function.SetInterrupts(InterruptKind.Msi, 1);
        registers.Write(IntelRegs.MaskSet, IntelRegs.LinkChange);
        registers.Write(IntelRegs.CauseSet, IntelRegs.LinkChange);
        WaitFor(function.Vector(0));
    }

    [Fact]
    public void IntX_OfAnE1000e_SignalsOnceUntilUnmasked()
    {
        using PciFunction function = _eal.OpenNic(Guest.Pair("e1000e").First);
        Mmio registers = MapQuiet(function);
        function.SetInterrupts(InterruptKind.IntX, 1);
        registers.Write(IntelRegs.MaskSet, IntelRegs.LinkChange);
        for (int round = 0; round < 3; round++)
        {
            registers.Write(IntelRegs.CauseSet, IntelRegs.LinkChange);
            WaitFor(function.Vector(0));
            _ = registers.Read(IntelRegs.Cause);                       // takes the pin back
            registers.Write(IntelRegs.CauseSet, IntelRegs.LinkChange);
            Assert.Equal(0ul, Eventfd.Drain(function.Vector(0)));      // the kernel masked it
            function.UnmaskIntX();
            WaitFor(function.Vector(0));
            _ = registers.Read(IntelRegs.Cause);
            function.UnmaskIntX();
        }
    }

    [Fact]
    public void Open_AHundredTimes_LeavesNoDescriptorAndNoMapping()
    {
        string nic = Guest.Pair("igb").First;
        (int Fds, int Maps) level = default;
        for (int i = 0; i < 105; i++)
        {
            if (i == 5)   // what the runtime takes for itself is taken
                level = Level();
            using PciFunction function = _eal.OpenNic(nic);
            function.MapBar(0);
            function.MapBar(3);
            function.SetInterrupts(InterruptKind.MsiX, 10);
        }
        (int fds, int maps) = Level();
        // The runtime opens and closes some of its own meanwhile; one of ours each time would be 100.
        Assert.InRange(fds, 0, level.Fds + 10);
        Assert.InRange(maps, 0, level.Maps + 10);
    }

    [Fact]
    public void Lost_DeviceAskedForBack_IsRaisedAndTheKernelGetsItOnDispose()
    {
        string nic = Guest.Pair("igb").Second;
        PciFunction function = _eal.OpenNic(nic);
        using var lost = new ManualResetEventSlim();
        PortLoss? why = null;
        string? thread = null;
        function.Lost += (_, reason) =>
        {
            (why, thread) = (reason, Thread.CurrentThread.Name);
            lost.Set();
        };
        var unbinding = new Thread(() => File.WriteAllText("/sys/bus/pci/drivers/vfio-pci/unbind", nic));
        unbinding.Start();   // it returns when the device is closed
        try
        {
            Assert.True(lost.Wait(s_patience), "not told");
            Assert.Equal((PortLoss.Requested, "dp-interrupt"), (why, thread));
        }
        finally
        {
            function.Dispose();
            bool ended = unbinding.Join(s_patience);
            File.WriteAllText("/sys/bus/pci/drivers_probe", nic);
            Assert.True(ended, "the kernel waits still");
        }
        using PciFunction again = _eal.OpenNic(nic);
        Assert.Equal(0x8086, again.ReadConfig16(0));
    }

    [Fact]
    public void Open_AGroupThatIsInUse_SaysByWhom()
    {
        string nic = Guest.Pair("igb").First;
        using PciFunction function = _eal.OpenNic(nic);
        using DmaContainer other = _eal.Dma.CreateContainer(IommuBackend.Type1);
        DeviceException refused = Assert.Throws<DeviceException>(() => other.Open(function.Device));
        Assert.Equal(Errno.EBUSY, refused.Errno);
        Assert.Contains($"held by process {Environment.ProcessId}", refused.Why, StringComparison.Ordinal);
        Assert.Empty(other.Functions);
        function.Dispose();
        using PciFunction now = other.Open(function.Device);
        Assert.Same(other, now.Container);
    }

    // Opening resets no 82574: a cause that an earlier user left set is not raised anew when it is set again.
    private static Mmio MapQuiet(PciFunction function)
    {
        Mmio registers = function.MapBar(0);
        registers.Write(IntelRegs.MaskClear, ~0u);
        _ = registers.Read(IntelRegs.Cause);
        return registers;
    }

    private void WaitFor(SafeFileHandle fd)
    {
        using var signalled = new ManualResetEventSlim();
        using IDisposable registration = _eal.Interrupts.Register(fd, () =>
        {
            if (Eventfd.Drain(fd) > 0)
                signalled.Set();
        });
        Assert.True(signalled.Wait(s_patience), "no interrupt");
    }

    private static (int Fds, int Maps) Level() =>
        (Directory.GetFileSystemEntries("/proc/self/fd").Length, File.ReadLines("/proc/self/maps").Count());
}

/// <summary>Registers of the 82576 (§8) and the 82574L (§10) that tests use.</summary>
internal static class IntelRegs
{
    internal const uint LinkChange = 1 << 2, MultipleMsiX = 1 << 4;

    internal static RoReg32 Status => new(0x0008);
    internal static RwReg32 VlanEtherType => new(0x0038);
    internal static RcReg32 Cause => new(0x00c0);
    internal static WoReg32 CauseSet => new(0x00c8);
    internal static RwReg32 MaskSet => new(0x00d0);
    internal static WoReg32 MaskClear => new(0x00d8);
    internal static RwReg32 GeneralPurposeInterrupt => new(0x1514);   // 82576 alone, as those below
    internal static WoReg32 ExtendedCauseSet => new(0x1520);
    internal static RwReg32 ExtendedMaskSet => new(0x1524);
}
