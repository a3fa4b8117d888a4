namespace Dataplane.Dpctl;

/// <summary>The functions a command line names.</summary>
internal static class Targets
{
    /// <summary>Functions by address or interface, and all members of groups that are no bridges.</summary>
    /// <exception cref="DataplaneException">One of them is not there, or none is named.</exception>
    internal static IReadOnlyList<PciDevice> Find(IReadOnlyList<PciDevice> all, string[] names, int[] groups)
    {
        var found = names.Select(name => Find(all, name)).ToList();
        foreach (int group in groups)
        {
            PciDevice[] members = [.. all.Where(device => device.IommuGroup == group && !IsBridge(device))];
            if (members.Length == 0)
                throw new DataplaneException($"there is no IOMMU group {group} with devices",
                    fix: "dpctl status lists the groups", errno: Errno.ENODEV);
            found.AddRange(members);
        }
        if (found.Count == 0)
            throw new ConfigException("no device is named", fix: "give a PCI address, an interface or --group N; "
                + "dpctl status lists them");
        return [.. found.DistinctBy(device => device.Address).OrderBy(device => device.Address)];
    }

    /// <summary>Bridges stay with the kernel, and do not keep a group from being given away.</summary>
    internal static bool IsBridge(PciDevice device) => device.Class >> 16 == 0x06;

    /// <summary>Whether a member's driver lets its IOMMU group be given to a process: none, VFIO's, or one that does
    /// no DMA of its own (driver_managed_dma in the kernel).</summary>
    internal static bool LetsGroupGo(PciDevice device) => device.KernelDriver == null || device.IsBoundToVfio
        || device.KernelDriver is "pcieport" or "pci-stub";

    private static PciDevice Find(IReadOnlyList<PciDevice> all, string name) =>
        (PciAddress.TryParse(name, out PciAddress address) ? all.FirstOrDefault(device => device.Address == address)
            : all.FirstOrDefault(device => device.Interfaces.Contains(name)))
        ?? throw new DataplaneException($"there is no PCI function '{name}'",
            "it is neither the address of one nor an interface on one", "dpctl status --all lists them",
            errno: Errno.ENODEV);
}
