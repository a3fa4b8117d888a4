namespace Dataplane.Tests;

/// <summary>The machines are what the other guest tests take them for.</summary>
[Guest(Machines.Matrix | Machines.NoRemapping | Machines.MultiQueue)]
public sealed class MachineTests
{
    [Fact]
    public void Kernel_IsTheOneAskedFor() =>
        Assert.StartsWith(Guest.Machine!.Kernel + ".", File.ReadAllText("/proc/sys/kernel/osrelease"),
            StringComparison.Ordinal);

    [Fact]
    public void Nics_AreAllThereAndBoundToVfio()
    {
        Assert.Equal(2 * Guest.Machine!.Pairs.Length, Guest.Nics.Length);
        foreach (string nic in Guest.Nics)
        {
            string device = $"/sys/bus/pci/devices/{nic}";
            Assert.Equal("vfio-pci", Directory.ResolveLinkTarget(device + "/driver", false)!.Name);
            Assert.StartsWith("0x02", File.ReadAllText(device + "/class"), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void VfioNodes_AreOfTheMachinesKind()
    {
        bool bare = (Guest.Machine!.Id & Machines.Bare) != 0;
        string[] groups = [.. Directory.GetFiles("/dev/vfio").Select(file => Path.GetFileName(file)!)];
        Assert.Contains("vfio", groups);
        Assert.Equal(Guest.Nics.Length, groups.Count(name =>
            bare ? name.StartsWith("noiommu-", StringComparison.Ordinal) : int.TryParse(name, out _)));
        Assert.Equal(!bare, Directory.Exists("/dev/vfio/devices"));
        Assert.True(File.Exists("/dev/iommu"));
    }

    [Fact]
    public void Memory_HasFreeHugepages()
    {
        using Eal eal = Eal.Initialize(new EalOptions { MemoryMb = 16, NoPci = true });
        Assert.Equal((nuint)2 << 20, eal.Memory.Memsegs[0].PageSizeBytes);
    }
}
