using System.Text;

namespace Dataplane.Tests;

/// <summary>What a test inside a machine knows of it.</summary>
public static class Guest
{
    /// <summary>The machine this process runs in, or null on the host.</summary>
    public static LabMachine? Machine { get; } =
        Environment.GetEnvironmentVariable("LAB_MACHINE") is { Length: > 0 } name
            ? LabMachine.ById(Enum.Parse<Machines>(name)) : null;

    /// <summary>PCI addresses of all NICs, in the order of lab/run's --nic.</summary>
    public static string[] Nics { get; } =
        (Environment.GetEnvironmentVariable("LAB_NICS") ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>A directory of this run that the host sees too.</summary>
    public static string Out { get; } = Environment.GetEnvironmentVariable("LAB_OUT") ?? "";

    /// <summary>PCI addresses of the pair of that model, joined back to back.</summary>
    /// <param name="model">igb, e1000e, virtio or virtio-packed.</param>
    public static (string First, string Second) Pair(string model)
    {
        int index = Array.FindIndex(Machine!.Pairs, nic => nic.Split(',')[0] == model);
        Assert.SkipUnless(index >= 0, $"{Machine.Name} has no {model}");
        return (Nics[2 * index], Nics[2 * index + 1]);
    }

    /// <summary>Tells QEMU something, e.g. "device_del nic1" or "set_link nic1 off". NICs are nic1, nic2, ... in the
    /// order of <see cref="Nics"/>.</summary>
    public static void Monitor(string command)
    {
        using FileStream port = new("/dev/virtio-ports/monitor", FileMode.Open, FileAccess.Write);
        port.Write(Encoding.ASCII.GetBytes(command + "\n"));
    }
}
