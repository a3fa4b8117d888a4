namespace Dataplane.Pmd;

/// <summary>Where the XDP program runs.</summary>
internal enum XdpMode
{
    /// <summary>In the interface's driver where that can, else in the kernel's general receive path.</summary>
    Auto,
    /// <summary>In the interface's driver.</summary>
    Driver,
    /// <summary>In the kernel's general receive path, on its own packet buffers.</summary>
    Generic,
}

/// <summary>Who brings the XDP program and its map.</summary>
internal enum XdpSource
{
    /// <summary>The port itself.</summary>
    Own,
    /// <summary>A process that hands them over by a Unix socket.</summary>
    Socket,
    /// <summary>Somebody who pinned the map in a bpf file system.</summary>
    PinnedMap,
}

/// <summary>The arguments of an af_xdp port.</summary>
internal sealed record AfXdpOptions
{
    internal const string Help = "iface=NAME (needed), start_queue=N (0), queue_count=N (all from there), "
        + "shared_umem=0|1 (0), busy_budget=N packets a poll, 0 off (64), force_copy=0|1 (0), "
        + "mode=auto|drv|skb (auto), "
        + "use_cni=0|1 (0) program handed over by a socket, use_pinned_map=0|1 (0), dp_path=PATH of either, "
        + "attach=link|netlink (link)";

    /// <summary>Interface to use.</summary>
    internal required string Interface { get; init; }

    /// <summary>The interface's queue that is queue 0 of the port.</summary>
    internal required int StartQueue { get; init; }

    /// <summary>Most queues each way, 0: as many as the interface has.</summary>
    internal required int QueueCount { get; init; }

    /// <summary>Queues with the same pool, of other ports too, register its memory once.</summary>
    internal required bool SharedUmem { get; init; }

    /// <summary>Packets the kernel handles in one preferred busy poll, 0 for none.</summary>
    internal required int BusyBudget { get; init; }

    /// <summary>Do not try zero-copy.</summary>
    internal required bool ForceCopy { get; init; }

    /// <summary>Where the program runs.</summary>
    internal required XdpMode Mode { get; init; }

    /// <summary>Whose program it is.</summary>
    internal required XdpSource Source { get; init; }

    /// <summary>The Unix socket or the pinned map.</summary>
    internal required string Path { get; init; }

    /// <summary>Attach as before Linux 5.9.</summary>
    internal required bool ByNetlink { get; init; }

    /// <summary>Reads and checks the arguments.</summary>
    /// <exception cref="ConfigException">A missing, unknown or impossible one.</exception>
    internal static AfXdpOptions Parse(DevArgs args)
    {
        string name = args.GetString("iface") ?? throw new ConfigException($"device '{args.Name}' needs iface=NAME",
            fix: $"write --vdev={args.Name},iface=eth0");
        bool socket = args.GetFlag("use_cni"), pinned = args.GetFlag("use_pinned_map");
        if (socket && pinned)
            throw new ConfigException($"device '{args.Name}': use_cni and use_pinned_map exclude each other");
        string? path = args.GetString("dp_path");
        if (path != null && !socket && !pinned)
            throw new ConfigException($"device '{args.Name}': dp_path={path} says where, but not what",
                fix: "add use_cni=1 for a Unix socket, or use_pinned_map=1");
        string? folder = socket || pinned ? $"/tmp/afxdp_dp/{name}/" : null;
        var options = new AfXdpOptions
        {
            Interface = name,
            StartQueue = (int)args.GetNumber("start_queue", 0, 0, 4095),
            QueueCount = (int)args.GetNumber("queue_count", 0, 0, Port.MaxQueues),
            SharedUmem = args.GetFlag("shared_umem"),
            BusyBudget = (int)args.GetNumber("busy_budget", 64, 0, ushort.MaxValue),
            ForceCopy = args.GetFlag("force_copy"),
            Mode = args.GetString("mode", "auto") switch
            {
                "auto" => XdpMode.Auto,
                "drv" => XdpMode.Driver,
                "skb" => XdpMode.Generic,
                var other => throw new ConfigException($"device '{args.Name}': mode={other} is unknown",
                    fix: "one of auto, drv, skb"),
            },
            Source = socket ? XdpSource.Socket : pinned ? XdpSource.PinnedMap : XdpSource.Own,
            Path = path ?? folder + (pinned ? "xsks_map" : "afxdp.sock"),
            ByNetlink = args.GetString("attach", "link") switch
            {
                "link" => false,
                "netlink" => true,
                var other => throw new ConfigException($"device '{args.Name}': attach={other} is unknown",
                    fix: "one of link, netlink"),
            },
        };
        args.ThrowIfUnused();
        return options;
    }
}
