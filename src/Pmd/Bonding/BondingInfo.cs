namespace Dataplane.Pmd;

/// <summary>What a bond can do: what all its members can.</summary>
internal static class BondingInfo
{
    /// <exception cref="ConfigException">Members that have no number of descriptors or no MTU in common.</exception>
    internal static PortInfo Of(string name, BondingOptions options, IReadOnlyList<Member> members)
    {
        PortInfo info = members[0].Port.Info;
        int redirection = info.RedirectionEntries, key = info.RssKeyBytes;
        foreach (Member member in members)
        {
            PortInfo other = member.Port.Info;
            info = Common(info, other);
            redirection = other.RedirectionEntries == redirection ? redirection : 0;
            key = other.RssKeyBytes == key ? key : 0;
        }
        if (options.Mode == BondingMode.Lacp)
            info = info with { MinMtu = Math.Max(info.MinMtu, LacpPdu.PayloadBytes) };
        // The packets of a pool stay with it only where each goes out once and nothing of our own does.
        TxOffloads never = options.Mode is BondingMode.Broadcast or BondingMode.Lacp ? TxOffloads.FastFree : 0;
        int descriptors = Math.Clamp(info.DefaultDescriptors, info.MinDescriptors,
            Math.Max(info.MinDescriptors, info.MaxDescriptors));
        if (info.MinDescriptors > info.MaxDescriptors || info.MinMtu > info.MaxMtu)
            throw new ConfigException($"device '{name}': its members cannot be set up alike",
                why: $"no number of descriptors ({info.MinDescriptors} at least, {info.MaxDescriptors} at most) or no "
                    + $"MTU ({info.MinMtu} to {info.MaxMtu}) suits all", fix: "bond ports of one kind");
        return info with
        {
            DriverName = "net_bonding",
            DefaultDescriptors = descriptors,
            RedirectionEntries = redirection,
            RssKeyBytes = key,
            TxOffloads = info.TxOffloads & ~never & ~TxOffloads.LockFree,
            TxQueueOffloads = info.TxQueueOffloads & ~never & ~TxOffloads.LockFree,
            RxInterrupts = false,
            LinkInterrupts = true,
            InterfaceName = null,
            Mode = null,
            Pci = null,
            EepromBytes = 0,
            NumaNode = options.NumaNode >= 0 ? options.NumaNode : info.NumaNode,
            MacAddress = options.Mac ?? members[options.Primary].Port.MacAddress,
        };
    }

    private static PortInfo Common(PortInfo a, PortInfo b) => a with
    {
        MaxRxQueues = Math.Min(a.MaxRxQueues, b.MaxRxQueues),
        MaxTxQueues = Math.Min(a.MaxTxQueues, b.MaxTxQueues),
        RxOffloads = a.RxOffloads & b.RxOffloads,
        TxOffloads = a.TxOffloads & b.TxOffloads,
        RxQueueOffloads = a.RxQueueOffloads & b.RxQueueOffloads,
        TxQueueOffloads = a.TxQueueOffloads & b.TxQueueOffloads,
        MinMtu = Math.Max(a.MinMtu, b.MinMtu),
        MaxMtu = Math.Min(a.MaxMtu, b.MaxMtu),
        MinRxBufferBytes = Math.Max(a.MinRxBufferBytes, b.MinRxBufferBytes),
        SizesItsOwnFrames = a.SizesItsOwnFrames && b.SizesItsOwnFrames,
        MinDescriptors = Math.Max(a.MinDescriptors, b.MinDescriptors),
        MaxDescriptors = Math.Min(a.MaxDescriptors, b.MaxDescriptors),
        DescriptorMultiple = LeastCommonMultiple(a.DescriptorMultiple, b.DescriptorMultiple),
        PowerOfTwoDescriptors = a.PowerOfTwoDescriptors || b.PowerOfTwoDescriptors,
        MaxMacAddresses = Math.Min(a.MaxMacAddresses, b.MaxMacAddresses),
        RssFields = a.RssFields & b.RssFields,
    };

    private static int LeastCommonMultiple(int a, int b)
    {
        (int x, int y) = (a, b);
        while (y != 0)
            (x, y) = (y, x % y);
        return a / x * b;
    }
}
