namespace Dataplane.Dpctl;

/// <summary>Gives functions to vfio-pci and back. What was changed is looked at afterwards.</summary>
internal sealed class Binder(Host host, Changes changes)
{
    internal const string Driver = "vfio-pci";

    private const string NoIommuSwitch = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

    /// <summary>Loads vfio-pci where the kernel does not have it yet.</summary>
    /// <exception cref="DataplaneException">The kernel has no such module.</exception>
    internal void LoadDriver()
    {
        if (host.Exists($"/sys/bus/pci/drivers/{Driver}"))
            return;
        if (!changes.Run("modprobe", Driver) || (!changes.IsDryRun && !host.Exists($"/sys/bus/pci/drivers/{Driver}")))
            throw new DataplaneException($"the kernel has no driver {Driver}",
                "its module could not be loaded", "use a kernel built with CONFIG_VFIO_PCI, as every distribution's "
                + "is; in a container, load it on the host: sudo modprobe vfio-pci", errno: Errno.ENODEV);
    }

    /// <summary>Lets VFIO make up groups for functions without an IOMMU, or not any more.</summary>
    /// <exception cref="DataplaneException">The kernel cannot, or this user may not.</exception>
    internal void SetNoIommu(bool on)
    {
        if (host.Read(NoIommuSwitch) == (on ? "Y" : "N"))
            return;
        if (on && !changes.IsDryRun && !host.Exists(NoIommuSwitch))
            throw new DataplaneException("this kernel has no no-iommu mode", $"{NoIommuSwitch} is not there",
                "use a kernel built with CONFIG_VFIO_NOIOMMU, or switch the IOMMU on (dpctl doctor says how)");
        changes.Write(NoIommuSwitch, on ? "Y" : "N");
    }

    /// <summary>Binds a function to vfio-pci; on failure the kernel's own driver has it again.</summary>
    /// <returns>The function as it is afterwards; as it was, in a dry run.</returns>
    /// <exception cref="DataplaneException">The kernel did not do it; says what it did.</exception>
    internal PciDevice Bind(PciDevice device)
    {
        if (device.IsBoundToVfio)
            return device;
        string directory = Directory(device);
        changes.Write($"{directory}/driver_override", Driver);
        try
        {
            Rebind(device);
            PciDevice after = changes.IsDryRun ? device : Reread(device);
            return changes.IsDryRun || after.IsBoundToVfio ? after : throw new DataplaneException(
                $"{device.Address} is not bound to {Driver}", after.KernelDriver == null
                    ? $"{Driver} did not take it" + (device.IommuGroup == null ? ": it has no IOMMU group" : "")
                    : $"{after.KernelDriver} has it",
                device.IommuGroup == null ? "switch the IOMMU on (dpctl doctor says how); without one see --noiommu"
                    : "the kernel's reason is at the end of: sudo dmesg", "docs/setup/binding.md");
        }
        catch (DataplaneException)
        {
            try
            {
                GiveBack(Reread(device));
            }
            catch (DataplaneException)
            {
                // what is to be told is why it could not be bound
            }
            throw;
        }
    }

    /// <summary>Gives a function back to the kernel's own driver.</summary>
    /// <returns>The function as it is afterwards; as it was, in a dry run.</returns>
    /// <exception cref="DataplaneException">It stays with vfio-pci.</exception>
    internal PciDevice Unbind(PciDevice device)
    {
        GiveBack(device);
        if (changes.IsDryRun)
            return device;
        PciDevice after = Reread(device);
        // Its module may never have been loaded, where it was bound before the kernel saw a need.
        if (after.KernelDriver == null && host.Read($"{Directory(device)}/modalias") is { Length: > 0 } alias
            && changes.Run("modprobe", alias))
            after = Reread(device);
        return !after.IsBoundToVfio ? after : throw new DataplaneException($"{device.Address} is still bound to "
            + $"{after.KernelDriver}", "the kernel did not release it", "the kernel's reason is at the end of: sudo "
            + "dmesg");
    }

    /// <summary>The function as it is now.</summary>
    internal PciDevice Reread(PciDevice device) =>
        host.ScanPci().FirstOrDefault(other => other.Address == device.Address)
        ?? throw new DataplaneException($"{device.Address} is gone", "it was there a moment ago: unplugged?",
            errno: Errno.ENODEV);

    /// <summary>Its directory in sysfs.</summary>
    internal static string Directory(PciDevice device) => $"/sys/bus/pci/devices/{device.Address}";

    private void GiveBack(PciDevice device)
    {
        changes.Write($"{Directory(device)}/driver_override", "\n");
        Rebind(device);
    }

    private void Rebind(PciDevice device)
    {
        if (device.KernelDriver != null)
            changes.Write($"{Directory(device)}/driver/unbind", device.Address.ToString());
        changes.Write("/sys/bus/pci/drivers_probe", device.Address.ToString());
    }
}
