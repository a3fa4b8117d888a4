using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>
/// Selects the ports of one aggregator (IEEE 802.1AX-2008 §5.4.14): those with the same partner and keys. A bond has
/// one set of links in use; ports of other aggregators stand by.
/// </summary>
internal sealed class LacpSelection(AggregatorChoice choice)
{
    private Group? _current;

    /// <summary>What ports that may be aggregated have in common: both ends' keys and the partner's system. One that
    /// must be alone has its number besides.</summary>
    internal readonly record struct Group(ushort ActorKey, ushort PartnerPriority, MacAddress PartnerSystem,
        ushort PartnerKey, int Alone)
    {
        internal static Group? Of(LacpMachine machine) => !machine.HasPartner ? null : new Group(machine.Actor.Key,
            machine.Partner.SystemPriority, machine.Partner.System, machine.Partner.Key,
            (machine.Partner.State & LacpState.Aggregation) != 0 ? -1 : machine.Actor.Port);
    }

    /// <summary>The aggregator in use, or null.</summary>
    internal Group? Current => _current;

    /// <summary>Selects and deselects.</summary>
    /// <param name="ports">Machines and their links' speeds, Mbit/s.</param>
    internal void Apply(IReadOnlyList<(LacpMachine Machine, uint SpeedMbps)> ports)
    {
        _current = Choose(ports);
        foreach ((LacpMachine machine, uint _) in ports)
            machine.IsSelected = _current != null && Group.Of(machine) == _current;
    }

    private Group? Choose(IReadOnlyList<(LacpMachine Machine, uint SpeedMbps)> ports)
    {
        Group? best = null;
        (ulong First, ulong Second) bestWorth = default;
        foreach ((LacpMachine machine, uint _) in ports)
        {
            if (Group.Of(machine) is not { } group)
                continue;
            ulong count = 0, speed = 0;
            bool isInStep = false;
            foreach ((LacpMachine other, uint speedMbps) in ports)
                if (Group.Of(other) == group)
                {
                    (count, speed) = (count + 1, speed + speedMbps);
                    isInStep |= (other.Partner.State & LacpState.Synchronization) != 0;
                }
            // Not for a partner that only talks: that would keep others out.
            if (choice == AggregatorChoice.Stable && group == _current && isInStep)
                return group;
            (ulong, ulong) worth = choice == AggregatorChoice.Bandwidth ? (speed, count) : (count, speed);
            int compared = worth.CompareTo(bestWorth);
            // Of equals, the one in use stays.
            if (best == null || compared > 0 || (compared == 0 && group == _current))
                (best, bestWorth) = (group, worth);
        }
        return best;
    }
}
