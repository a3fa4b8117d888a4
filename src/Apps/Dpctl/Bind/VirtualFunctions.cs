namespace Dataplane.Dpctl;

/// <summary>Makes and removes the virtual functions of a physical one (SR-IOV).</summary>
internal sealed class VirtualFunctions(Host host, Changes changes, Binder binder)
{
    private const string VfioSwitch = "/sys/module/vfio_pci/parameters/enable_sriov";

    /// <summary>Makes a function have so many, none of them taken by a driver of the kernel.</summary>
    /// <returns>The new ones; none in a dry run.</returns>
    /// <exception cref="DataplaneException">It cannot have so many, or the kernel refuses.</exception>
    internal IReadOnlyList<PciDevice> Make(PciDevice parent, int count)
    {
        Check(parent, count);
        string directory = Binder.Directory(parent);
        if (parent.VirtualFunctions.Count == count)
            return Read(parent);
        if (parent.VirtualFunctions.Count > 0)
            throw new DataplaneException($"{parent.Address} has {parent.VirtualFunctions.Count} virtual functions "
                + "already", "the kernel changes their number only by way of 0",
                $"dpctl bind --vfs 0 {parent.Address}, then again");
        string? autoprobe = host.Read($"{directory}/sriov_drivers_autoprobe");
        if (autoprobe == "1")
            changes.Write($"{directory}/sriov_drivers_autoprobe", "0");
        try
        {
            changes.Write($"{directory}/sriov_numvfs", $"{count}");
        }
        finally
        {
            if (autoprobe == "1")
                changes.Write($"{directory}/sriov_drivers_autoprobe", "1");
        }
        IReadOnlyList<PciDevice> made = changes.IsDryRun ? [] : Read(binder.Reread(parent));
        return changes.IsDryRun || made.Count == count ? made : throw new DataplaneException(
            $"{parent.Address} has {made.Count} virtual functions, not {count}", "the kernel made no more",
            "the kernel's reason is at the end of: sudo dmesg");
    }

    /// <summary>Removes all of a function's.</summary>
    /// <exception cref="DataplaneException">One is in use, or the kernel refuses.</exception>
    internal void Remove(PciDevice parent)
    {
        changes.Write($"{Binder.Directory(parent)}/sriov_numvfs", "0");
        if (!changes.IsDryRun && binder.Reread(parent).VirtualFunctions.Count is > 0 and { } left)
            throw new DataplaneException($"{parent.Address} still has {left} virtual functions",
                "the kernel did not remove them", "the kernel's reason is at the end of: sudo dmesg");
    }

    /// <summary>A function's virtual functions.</summary>
    internal IReadOnlyList<PciDevice> Read(PciDevice parent) =>
        [.. host.ScanPci().Where(device => device.PhysicalFunction == parent.Address)];

    private void Check(PciDevice parent, int count)
    {
        if (parent.MaxVirtualFunctions == 0)
            throw new DataplaneException($"{parent} can have no virtual functions",
                "it has no SR-IOV, or the firmware left no room for them");
        if (count > parent.MaxVirtualFunctions)
            throw new ConfigException($"{parent} cannot have {count} virtual functions",
                fix: $"give 1 to {parent.MaxVirtualFunctions}");
        if (parent.KernelDriver == null)
            throw new DataplaneException($"{parent} can have no virtual functions now", "no driver has it",
                $"dpctl unbind {parent.Address} gives it back to the kernel's own");
        if (parent.IsBoundToVfio && host.Read(VfioSwitch) != "Y")
            throw new DataplaneException($"{parent} can have no virtual functions now",
                $"it is bound to {parent.KernelDriver}, which allows them only when told to",
                $"echo Y | sudo tee {VfioSwitch}, and give applications --vfio-vf-token; or dpctl unbind "
                + $"{parent.Address}");
    }
}
