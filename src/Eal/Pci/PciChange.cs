using System.Text;

namespace Dataplane;

/// <summary>What happened to a function.</summary>
public enum PciChangeKind
{
    /// <summary>It came: plugged in, or a virtual function that was made.</summary>
    Added,
    /// <summary>It is gone.</summary>
    Removed,
    /// <summary>A driver of the kernel took it.</summary>
    Bound,
    /// <summary>Its driver of the kernel let go of it.</summary>
    Unbound,
}

/// <summary>A change on the PCI bus.</summary>
/// <param name="Kind">What happened.</param>
/// <param name="Address">To which function.</param>
public readonly record struct PciChange(PciChangeKind Kind, PciAddress Address)
{
    /// <summary>
    /// Reads a message of the kernel: <c>ACTION@PATH</c>, then <c>KEY=VALUE</c>s, each ended by a zero
    /// (lib/kobject_uevent.c).
    /// </summary>
    /// <returns>False where it is not about a PCI function coming, going or changing drivers.</returns>
    internal static bool TryParse(ReadOnlySpan<byte> message, out PciChange change)
    {
        change = default;
        string? action = null, subsystem = null, slot = null;
        foreach (string line in Encoding.UTF8.GetString(message).Split('\0'))
        {
            action = After(line, "ACTION=") ?? action;
            subsystem = After(line, "SUBSYSTEM=") ?? subsystem;
            slot = After(line, "PCI_SLOT_NAME=") ?? slot;
        }
        PciChangeKind? kind = action switch
        {
            "add" => PciChangeKind.Added,
            "remove" => PciChangeKind.Removed,
            "bind" => PciChangeKind.Bound,
            "unbind" => PciChangeKind.Unbound,
            _ => null,
        };
        if (kind == null || subsystem != "pci" || !PciAddress.TryParse(slot, out PciAddress address))
            return false;
        change = new(kind.Value, address);
        return true;
    }

    /// <summary>What happened between two looks at the bus: first what went, then what came.</summary>
    internal static IEnumerable<PciChange> Between(IReadOnlySet<PciAddress> before, IReadOnlySet<PciAddress> after) =>
        before.Except(after).Order().Select(address => new PciChange(PciChangeKind.Removed, address))
        .Concat(after.Except(before).Order().Select(address => new PciChange(PciChangeKind.Added, address)));

    private static string? After(string line, string key) =>
        line.StartsWith(key, StringComparison.Ordinal) ? line[key.Length..] : null;
}
