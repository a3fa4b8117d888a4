using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>The arguments of an af_packet port.</summary>
internal sealed record AfPacketOptions
{
    internal const string Help = "iface=NAME (needed), qpairs=N (1), blocksz=BYTES (524288) receive block, "
        + "framesz=BYTES transmit slot (fits the MTU), framecnt=N slots, retire=MS (1), qdisc_bypass=0|1 (0), "
        + "fanout_mode=hash|lb|cpu|rollover|rnd|qm (hash)";

    /// <summary>Interface to use.</summary>
    internal required string Interface { get; init; }

    /// <summary>Most queues each way.</summary>
    internal required int QueuePairs { get; init; }

    /// <summary>Bytes of a receive block, a multiple of the page. The default holds seven 64 KiB superframes.</summary>
    internal required int BlockBytes { get; init; }

    /// <summary>Bytes of a transmit slot, 0 to fit it to the MTU; with <see cref="Frames"/> the size of the receive
    /// ring.</summary>
    internal required int FrameBytes { get; init; }

    /// <summary>Frames each ring holds, 0 for the defaults.</summary>
    internal required int Frames { get; init; }

    /// <summary>Milliseconds after which the kernel hands over a block that is not full.</summary>
    internal required int RetireMs { get; init; }

    /// <summary>Send past the traffic control layer; such frames are not seen by tcpdump on this interface.</summary>
    internal required bool QdiscBypass { get; init; }

    /// <summary>PACKET_FANOUT_*.</summary>
    internal required int FanoutMode { get; init; }

    /// <summary>Blocks of the receive ring; 8 MiB where the arguments say nothing.</summary>
    internal int Blocks =>
        (int)Math.Max(2, ((long)(FrameBytes == 0 ? 2048 : FrameBytes) * (Frames == 0 ? 4096 : Frames)
        + BlockBytes - 1) / BlockBytes);

    /// <summary>Reads and checks the arguments.</summary>
    /// <exception cref="ConfigException">A missing, unknown or impossible one.</exception>
    internal static AfPacketOptions Parse(DevArgs args)
    {
        var options = new AfPacketOptions
        {
            Interface = args.GetString("iface") ?? throw new ConfigException($"device '{args.Name}' needs iface=NAME",
                fix: $"write --vdev={args.Name},iface=eth0"),
            QueuePairs = (int)args.GetNumber("qpairs", 1, 1, Port.MaxQueues),
            BlockBytes = (int)args.GetNumber("blocksz", 1 << 19, 4096, 1 << 26),
            FrameBytes = (int)args.GetNumber("framesz", 0, 128, 1 << 17),
            Frames = (int)args.GetNumber("framecnt", 0, 8, 1 << 20),
            RetireMs = (int)args.GetNumber("retire", 1, 1, 1000),
            QdiscBypass = args.GetFlag("qdisc_bypass"),
            FanoutMode = ParseFanout(args),
        };
        args.ThrowIfUnused();
        if (options.BlockBytes % Environment.SystemPageSize != 0)
            throw new ConfigException($"device '{args.Name}': blocksz={options.BlockBytes} is no multiple of the page, "
                + $"{Environment.SystemPageSize} bytes");
        if (options.FrameBytes % 16 != 0)
            throw new ConfigException($"device '{args.Name}': framesz={options.FrameBytes} is no multiple of 16");
        return options;
    }

    private static int ParseFanout(DevArgs args) => args.GetString("fanout_mode", "hash") switch
    {
        "hash" => IfPacket.PACKET_FANOUT_HASH,
        "lb" => IfPacket.PACKET_FANOUT_LB,
        "cpu" => IfPacket.PACKET_FANOUT_CPU,
        "rollover" or "rollback" => IfPacket.PACKET_FANOUT_ROLLOVER,
        "rnd" => IfPacket.PACKET_FANOUT_RND,
        "qm" => IfPacket.PACKET_FANOUT_QM,
        var other => throw new ConfigException($"device '{args.Name}': fanout_mode={other} is unknown",
            fix: "one of hash, lb, cpu, rollover, rnd, qm"),
    };
}
