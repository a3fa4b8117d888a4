using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>How a bond uses its members. Numbers as DPDK's and Linux'.</summary>
internal enum BondingMode
{
    /// <summary>A burst by each member in turn.</summary>
    RoundRobin = 0,
    /// <summary>One member carries all; another takes over when it fails.</summary>
    ActiveBackup = 1,
    /// <summary>Each flow by one member, by a hash.</summary>
    Balance = 2,
    /// <summary>Each packet by every member.</summary>
    Broadcast = 3,
    /// <summary>As balance, over the members that LACP agreed on (IEEE 802.1AX).</summary>
    Lacp = 4,
}

/// <summary>Which of several aggregators carries traffic.</summary>
internal enum AggregatorChoice
{
    /// <summary>The one there is, as long as a port of its is in step with its partner; else that with the most
    /// ports.</summary>
    Stable,
    /// <summary>The one with the greatest sum of speeds.</summary>
    Bandwidth,
    /// <summary>The one with the most ports.</summary>
    Count,
}

/// <summary>The arguments of a bond; DPDK's, and three for LACP that DPDK sets by calls.</summary>
internal sealed record BondingOptions
{
    internal const string Help = "mode=0|1|2|3|4 (needed) round-robin, active-backup, balance, broadcast, 802.3ad; "
        + "member=PORT (needed, once for each; made before), primary=PORT (the first), xmit_policy=l2|l23|l34 (l2), "
        + "mac=ADDRESS (the primary's), socket_id=N, lsc_poll_period_ms=MS (10), up_delay=MS (0), down_delay=MS (0); "
        + "802.3ad: agg_mode=stable|bandwidth|count (stable), lacp_rate=slow|fast (slow), aggregate_wait_ms=MS (2000)";

    internal required BondingMode Mode { get; init; }

    /// <summary>Names of the ports, in order.</summary>
    internal required IReadOnlyList<string> Members { get; init; }

    /// <summary>Index in <see cref="Members"/>.</summary>
    internal required int Primary { get; init; }

    internal required TransmitPolicy Policy { get; init; }

    /// <summary>The bond's address, or null for the primary's.</summary>
    internal required MacAddress? Mac { get; init; }

    internal required int NumaNode { get; init; }

    /// <summary>Milliseconds between looks at the members.</summary>
    internal required int PollMs { get; init; }

    /// <summary>Milliseconds a link must be up, or down, before that counts.</summary>
    internal required int UpDelayMs { get; init; }

    /// <inheritdoc cref="UpDelayMs"/>
    internal required int DownDelayMs { get; init; }

    internal required AggregatorChoice Choice { get; init; }

    /// <summary>Asks the partner for a PDU each second, not every 30.</summary>
    internal required bool FastRate { get; init; }

    /// <summary>Milliseconds a port waits for others to join before it is used.</summary>
    internal required int AggregateWaitMs { get; init; }

    /// <summary>Reads and checks the arguments.</summary>
    /// <exception cref="ConfigException">A missing, unknown or impossible one.</exception>
    internal static BondingOptions Parse(DevArgs args)
    {
        string[] members = [.. args.GetAll("member")];
        string? primary = args.GetString("primary");
        var options = new BondingOptions
        {
            Mode = ParseMode(args),
            Members = members,
            Primary = primary == null ? 0 : Array.IndexOf(members, primary),
            Policy = args.GetString("xmit_policy", "l2") switch
            {
                "l2" => TransmitPolicy.L2,
                "l23" => TransmitPolicy.L23,
                "l34" => TransmitPolicy.L34,
                var other => throw Unknown(args, "xmit_policy", other, "l2, l23, l34"),
            },
            Mac = ParseMac(args),
            NumaNode = (int)args.GetNumber("socket_id", Memory.AnyNode, -1, 63),
            PollMs = (int)args.GetNumber("lsc_poll_period_ms", 10, 1, 10_000),
            UpDelayMs = (int)args.GetNumber("up_delay", 0, 0, 3_600_000),
            DownDelayMs = (int)args.GetNumber("down_delay", 0, 0, 3_600_000),
            Choice = args.GetString("agg_mode", "stable") switch
            {
                "stable" => AggregatorChoice.Stable,
                "bandwidth" => AggregatorChoice.Bandwidth,
                "count" => AggregatorChoice.Count,
                var other => throw Unknown(args, "agg_mode", other, "stable, bandwidth, count"),
            },
            FastRate = args.GetString("lacp_rate", "slow") switch
            {
                "slow" => false,
                "fast" => true,
                var other => throw Unknown(args, "lacp_rate", other, "slow, fast"),
            },
            AggregateWaitMs = (int)args.GetNumber("aggregate_wait_ms", 2000, 0, 60_000),
        };
        args.ThrowIfUnused();
        options.CheckMembers(args, primary);
        return options;
    }

    private void CheckMembers(DevArgs args, string? primary)
    {
        if (Members.Count is 0 or > MaxMembers)
            throw new ConfigException($"device '{args.Name}' needs 1 to {MaxMembers} members, and has {Members.Count}",
                fix: $"write --vdev={args.Name},mode=1,member=PORT,member=PORT");
        if (Primary < 0)
            throw new ConfigException($"device '{args.Name}': primary={primary} is none of its members",
                fix: "one of " + string.Join(", ", Members));
        for (int i = 1; i < Members.Count; i++)
            for (int before = 0; before < i; before++)
                if (Members[before] == Members[i])
                    throw new ConfigException($"device '{args.Name}': member={Members[i]} is named twice");
    }

    /// <summary>Most members of a bond.</summary>
    internal const int MaxMembers = 32;

    private static BondingMode ParseMode(DevArgs args)
    {
        string text = args.GetString("mode") ?? throw new ConfigException($"device '{args.Name}' needs mode=N",
            fix: "0 round-robin, 1 active-backup, 2 balance, 3 broadcast, 4 802.3ad");
        return text switch
        {
            "0" => BondingMode.RoundRobin,
            "1" => BondingMode.ActiveBackup,
            "2" => BondingMode.Balance,
            "3" => BondingMode.Broadcast,
            "4" => BondingMode.Lacp,
            _ => throw Unknown(args, "mode", text, "0 (round-robin), 1 (active-backup), 2 (balance), 3 (broadcast), "
                + "4 (802.3ad)"),
        };
    }

    private static MacAddress? ParseMac(DevArgs args)
    {
        string? text = args.GetString("mac");
        if (text == null)
            return null;
        if (!MacAddress.TryParse(text, out MacAddress mac) || mac.IsMulticast || mac.Value == 0)
            throw new ConfigException($"device '{args.Name}': mac={text} is no unicast address");
        return mac;
    }

    private static ConfigException Unknown(DevArgs args, string key, string? value, string known) =>
        new($"device '{args.Name}': {key}={value} is unknown", fix: $"one of {known}");
}
