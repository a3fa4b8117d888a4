namespace Dataplane.Dpctl;

/// <summary>How to give the kernel parameters that it takes at boot only.</summary>
internal static class BootParameters
{
    private const string Grub = "/etc/default/grub";

    /// <summary>The command, where the boot loader is Debian's GRUB.</summary>
    internal static string Fix(Host host, string parameters) => host.Exists(Grub)
        ? $"sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{parameters} /' {Grub} && sudo update-grub && sudo reboot"
        : $"add to the kernel's command line and boot again: {parameters}";
}
