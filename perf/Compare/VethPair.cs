namespace Dataplane.Perf.Compare;

/// <summary>Two joined kernel interfaces without IPv6, which would add packets of its own.</summary>
internal sealed class VethPair : IDisposable
{
    /// <summary>Its ends.</summary>
    public const string Near = "dpcmp0", Far = "dpcmp1";

    /// <summary>Makes it; one that was left is replaced.</summary>
    public VethPair()
    {
        Dispose();
        Ip("link", "add", Near, "type", "veth", "peer", "name", Far);
        SetUp(Near);
        SetUp(Far);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Directory.Exists($"/sys/class/net/{Near}"))
            Ip("link", "del", Near);
    }

    private static void SetUp(string link)
    {
        File.WriteAllText($"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", "1");
        Ip("link", "set", link, "up", "promisc", "on");
    }

    private static void Ip(params string[] args)
    {
        if (Dpdk.Run("ip", args, TimeSpan.FromSeconds(10), out string text) != 0)
            throw new DataplaneException($"ip {string.Join(' ', args)}", why: text);
    }
}
