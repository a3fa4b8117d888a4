using System.Text;

namespace Dataplane.Dpctl;

/// <summary>Keeps bindings over a restart: by driverctl where it is installed, else by a rule for udev.</summary>
internal sealed class Persistence(Host host, Changes changes)
{
    private const string Rules = "/etc/udev/rules.d", Overrides = "/etc/driverctl.d";

    private bool HasDriverctl => host.Exists("/usr/sbin/driverctl") || host.Exists("/sbin/driverctl");

    /// <summary>From the next start on a function is bound to vfio-pci, and its files are the user's.</summary>
    /// <exception cref="DataplaneException">The rule cannot be written.</exception>
    internal void Keep(PciDevice device, uint? uid)
    {
        bool byDriverctl = HasDriverctl && changes.Run("driverctl", "--noprobe", "set-override",
            $"{device.Address}", Binder.Driver);
        string rule = (byDriverctl ? "" : OverrideRule(device)) + (uid == null ? "" : OwnerRule(device, uid.Value));
        if (rule.Length > 0)
            WriteRule(device.Address, rule);
    }

    /// <summary>From the next start on a function has that many virtual functions.</summary>
    /// <exception cref="DataplaneException">The rule cannot be written.</exception>
    internal void KeepVirtualFunctions(PciDevice device, int count) => WriteRule(device.Address,
        $"ACTION==\"bind\", SUBSYSTEM==\"pci\", KERNEL==\"{device.Address}\", ATTR{{sriov_drivers_autoprobe}}=\"0\", "
        + $"ATTR{{sriov_numvfs}}=\"{count}\"\n");

    /// <summary>Nothing is kept for a function any more.</summary>
    /// <exception cref="DataplaneException">The rule cannot be removed.</exception>
    internal void Forget(PciAddress address)
    {
        if (HasDriverctl && host.Exists($"{Overrides}/{address}"))
            changes.Run("driverctl", "--noprobe", "unset-override", address.ToString());
        if (!host.Exists(RuleFile(address)))
            return;
        changes.Delete(RuleFile(address));
        Reload();
    }

    private void WriteRule(PciAddress address, string text)
    {
        if (!host.Exists(Rules))
            throw new DataplaneException($"the binding of {address} is not kept over a restart",
                $"this machine has no {Rules}", "leave --persist out and bind again after each start");
        changes.Write(RuleFile(address), "# Made by dpctl bind --persist; dpctl unbind removes it.\n" + text);
        Reload();
    }

    private void Reload()
    {
        if (host.Exists("/run/udev"))
            changes.Run("udevadm", "control", "--reload");
    }

    // The override is set before modules are loaded by the same event; a driver from the initial RAM disk may be
    // faster, and is then taken off. A function that is bound already is left alone: it may be in use.
    private static string OverrideRule(PciDevice device) => new StringBuilder()
        .Append($"ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"{device.Address}\", ")
        .Append($"ATTR{{driver_override}}=\"{Binder.Driver}\", ")
        .Append($"RUN+=\"/bin/sh -c 'modprobe {Binder.Driver}; [ -e /sys/bus/pci/drivers/{Binder.Driver}/")
        .Append($"{device.Address} ] || {{ echo {device.Address} > /sys/bus/pci/devices/{device.Address}/driver/unbind")
        .Append($"; echo {device.Address} > /sys/bus/pci/drivers_probe; }}'\"\n").ToString();

    // A group's node has no parent to match, and its number may be another after the restart: so it is looked up when
    // the function is there or bound.
    private static string OwnerRule(PciDevice device, uint uid) =>
        $"ACTION==\"add\", SUBSYSTEM==\"vfio-dev\", KERNELS==\"{device.Address}\", OWNER=\"{uid}\", MODE=\"0600\"\n"
        + $"ACTION==\"add|bind\", SUBSYSTEM==\"pci\", KERNEL==\"{device.Address}\", RUN+=\"/bin/sh -c '"
        + $"n=/dev/vfio/$$(basename $$(readlink /sys/bus/pci/devices/{device.Address}/iommu_group)); "
        + $"[ ! -e $$n ] || {{ chown {uid} $$n; chmod 600 $$n; }}'\"\n"
        + "SUBSYSTEM==\"misc\", KERNEL==\"iommu\", MODE=\"0666\"\n";

    private static string RuleFile(PciAddress address) => $"{Rules}/90-dataplane-{address}.rules";
}
