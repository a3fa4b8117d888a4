using System.Numerics;

namespace Dataplane;

/// <summary>What a port refuses, in one place for all drivers. Each message names the port, the limit and the way
/// out.</summary>
internal static class PortRules
{
    internal static void Check(Port port, PortConfig config)
    {
        PortInfo info = port.Info;
        CheckCount(port, "receive", config.RxQueues, info.MaxRxQueues);
        CheckCount(port, "transmit", config.TxQueues, info.MaxTxQueues);
        if (config.RxQueues + config.TxQueues == 0)
            throw new ConfigException($"port {port.Name}: configured without any queue", fix: "ask for at least one");
        CheckOffloads(port, "receive", config.RxOffloads, info.RxOffloads, config.RxOffloads & ~info.RxOffloads);
        CheckOffloads(port, "transmit", config.TxOffloads, info.TxOffloads, config.TxOffloads & ~info.TxOffloads);
        if (config.Mtu != 0)
            CheckMtu(port, config.Mtu);
        if (config.Rss != null)
            CheckRss(port, config.Rss);
        if (config.RxInterrupts && !info.RxInterrupts)
            throw new ConfigException($"port {port.Name}: its receive queues have no interrupts",
                why: $"driver {info.DriverName} cannot, or its device was given none", fix: "poll it");
    }

    internal static void CheckRss(Port port, RssConfig rss)
    {
        PortInfo info = port.Info;
        if (rss.Fields != RssFields.All && (rss.Fields & ~info.RssFields) != 0)
            throw new ConfigException($"port {port.Name}: cannot hash {rss.Fields & ~info.RssFields}",
                fix: $"driver {info.DriverName} hashes {info.RssFields}");
        if (rss.Key != null && rss.Key.Length != info.RssKeyBytes)
            throw new ConfigException($"port {port.Name}: an RSS key of {rss.Key.Length} bytes does not fit",
                fix: info.RssKeyBytes == 0 ? $"driver {info.DriverName} has a fixed key: give none"
                    : $"driver {info.DriverName} takes {info.RssKeyBytes} bytes");
    }

    internal static void CheckRedirection(Port port, ReadOnlySpan<ushort> queues)
    {
        if (queues.Length != port.Info.RedirectionEntries || queues.Length == 0)
            throw new ConfigException($"port {port.Name}: a redirection table of {queues.Length} entries does not fit",
                fix: $"driver {port.Info.DriverName} has {port.Info.RedirectionEntries}");
        foreach (ushort queue in queues)
            if (queue >= port.Config.RxQueues)
                throw new ConfigException($"port {port.Name}: the redirection table names receive queue {queue}",
                    why: $"{port.Config.RxQueues} are configured");
    }

    internal static void CheckMtu(Port port, int mtu)
    {
        PortInfo info = port.Info;
        if (mtu < info.MinMtu || mtu > info.MaxMtu)
            throw new ConfigException($"port {port.Name}: MTU {mtu} is out of range",
                fix: $"driver {info.DriverName} takes {info.MinMtu} to {info.MaxMtu} bytes");
    }

    internal static void CheckPool(Port port, Mempool pool, RxOffloads offloads, int mtu)
    {
        PortInfo info = port.Info;
        int room = pool.DataRoomBytes - Mbuf.DefaultHeadroom;
        if (pool.DataRoomBytes == 0 || room < info.MinRxBufferBytes)
            throw new ConfigException($"port {port.Name}: pool '{pool.Name}' cannot receive",
                why: pool.DataRoomBytes == 0 ? "it holds no mbufs"
                    : $"its mbufs hold {room} bytes after the headroom; the driver needs {info.MinRxBufferBytes}",
                fix: "make a pool with Mempool.CreateMbufPool and a larger data room");
        int frame = mtu + Port.FrameOverheadBytes;
        if (frame > room && !info.SizesItsOwnFrames && (offloads & RxOffloads.Scatter) == 0)
            throw new ConfigException($"port {port.Name}: frames of MTU {mtu} do not fit the mbufs of pool "
                + $"'{pool.Name}'", why: $"a frame has up to {frame} bytes, a mbuf {room} after the headroom, and "
                + $"scatter is off", fix: $"use a data room of {frame + Mbuf.DefaultHeadroom}, "
                    + ((info.RxOffloads & RxOffloads.Scatter) != 0 ? "RxOffloads.Scatter, " : "")
                    + $"or an MTU of {room - Port.FrameOverheadBytes}");
    }

    internal static RxQueueConfig Fill(Port port, RxQueueConfig config)
    {
        RxOffloads missing = config.Offloads & ~(port.Info.RxQueueOffloads | port.Config.RxOffloads);
        CheckOffloads(port, "receive queue", config.Offloads, port.Info.RxQueueOffloads, missing);
        return config with
        {
            Descriptors = FillDescriptors(port, config.Descriptors),
            Offloads = config.Offloads | port.Config.RxOffloads,
        };
    }

    internal static TxQueueConfig Fill(Port port, TxQueueConfig config)
    {
        TxOffloads missing = config.Offloads & ~(port.Info.TxQueueOffloads | port.Config.TxOffloads);
        CheckOffloads(port, "transmit queue", config.Offloads, port.Info.TxQueueOffloads, missing);
        return config with
        {
            Descriptors = FillDescriptors(port, config.Descriptors),
            Offloads = config.Offloads | port.Config.TxOffloads,
        };
    }

    private static int FillDescriptors(Port port, int descriptors)
    {
        PortInfo info = port.Info;
        if (descriptors == 0)
            return info.DefaultDescriptors;
        bool right = descriptors >= info.MinDescriptors && descriptors <= info.MaxDescriptors
            && descriptors % info.DescriptorMultiple == 0
            && (!info.PowerOfTwoDescriptors || BitOperations.IsPow2(descriptors));
        if (!right)
            throw new ConfigException($"port {port.Name}: a queue cannot have {descriptors} descriptors",
                fix: $"driver {info.DriverName} takes {info.MinDescriptors} to {info.MaxDescriptors}"
                    + (info.PowerOfTwoDescriptors ? ", a power of two" : "")
                    + (info.DescriptorMultiple > 1 ? $", a multiple of {info.DescriptorMultiple}" : "")
                    + $"; 0 means {info.DefaultDescriptors}");
        return descriptors;
    }

    private static void CheckCount(Port port, string kind, int count, int most)
    {
        if (count < 0 || count > most)
            throw new ConfigException($"port {port.Name}: cannot have {count} {kind} queues",
                fix: $"driver {port.Info.DriverName} has 0 to {most}");
    }

    private static void CheckOffloads<T>(Port port, string kind, T wanted, T known, T missing) where T : struct, Enum
    {
        if (!missing.Equals(default(T)))
            throw new ConfigException($"port {port.Name}: no {kind} offload {missing}",
                why: $"asked for {wanted}; driver {port.Info.DriverName} has {known}",
                fix: $"leave out {missing}");
    }
}
