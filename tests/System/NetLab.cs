namespace Dataplane.Tests;

/// <summary>Namespaces, veth pairs and bridges of one test; all gone when disposed. Names are unique on the
/// machine.</summary>
internal sealed class NetLab : IDisposable
{
    private static int s_labs;

    private readonly string _tag = $"{Environment.ProcessId % 100_000}x{Interlocked.Increment(ref s_labs)}";
    private readonly List<string> _spaces = [];
    private readonly List<string> _links = [];

    /// <summary>A name for an interface that this lab is to delete, at most 15 characters.</summary>
    internal string NewLink(string prefix)
    {
        string name = $"{prefix}{_tag}";
        Assert.InRange(name.Length, 1, 15);
        _links.Add(name);
        return name;
    }

    /// <summary>A veth pair, both ends here, up, without addresses of their own.</summary>
    internal (string A, string B) AddVeth(string prefix = "v", int queues = 1)
    {
        string a = NewLink(prefix + "a"), b = prefix + "b" + _tag;
        string count = queues.ToString();
        Host.Run("ip", "link", "add", a, "numtxqueues", count, "numrxqueues", count, "type", "veth", "peer", "name", b,
            "numtxqueues", count, "numrxqueues", count);
        foreach (string end in new[] { a, b })
            SetUp(end);
        return (a, b);
    }

    /// <summary>
    /// Two persistent tap interfaces that ports can take; what one's port sends, the other's receives. By redirection,
    /// not by a bridge: bridges pass frames through the machine's packet filter.
    /// </summary>
    internal (string A, string B) AddTaps()
    {
        string a = NewLink("ta"), b = NewLink("tb");
        foreach (string tap in new[] { a, b })
        {
            Host.Run("ip", "tuntap", "add", "dev", tap, "mode", "tap", "multi_queue", "vnet_hdr");
            SetUp(tap);
            Host.Run("tc", "qdisc", "add", "dev", tap, "ingress");
        }
        foreach ((string from, string to) in new[] { (a, b), (b, a) })
            Host.Run("tc", "filter", "add", "dev", from, "parent", "ffff:", "protocol", "all", "u32", "match", "u32",
                "0", "0", "action", "mirred", "egress", "redirect", "dev", to);
        return (a, b);
    }

    /// <summary>Up and quiet: no IPv6, so nothing speaks on it unasked.</summary>
    internal static void SetUp(string link)
    {
        string ipv6 = $"/proc/sys/net/ipv6/conf/{link}/disable_ipv6";
        if (File.Exists(ipv6))
            File.WriteAllText(ipv6, "1");
        Host.Run("ip", "link", "set", link, "up");
    }

    /// <summary>Down.</summary>
    internal static void SetDown(string link) => Host.Run("ip", "link", "set", link, "down");

    /// <summary>A new namespace.</summary>
    internal string AddNamespace(string prefix)
    {
        string name = $"dp-{prefix}-{_tag}";
        Host.Run("ip", "netns", "add", name);
        _spaces.Add(name);
        Host.Run("ip", "-n", name, "link", "set", "lo", "up");
        return name;
    }

    /// <summary>Moves an interface into a namespace, gives it an address and sets it up.</summary>
    internal static void Place(string link, string space, string address)
    {
        Host.Run("ip", "link", "set", link, "netns", space);
        Host.Run("ip", "-n", space, "addr", "add", address, "dev", link);
        Host.Run("ip", "-n", space, "link", "set", link, "up");
    }

    /// <summary>
    /// A flood of pings without loss; what ping said. Tried some times: at its end ping waits for two round trips only,
    /// and calls the last ones lost when a busy machine lets the forwarder wait longer.
    /// </summary>
    internal static string FloodPing(string space, string address, int count)
    {
        string said = "";
        for (int tries = 0; tries < 5 && !said.Contains(" 0% packet loss", StringComparison.Ordinal); tries++)
            (_, said) = Host.TryRun("ip", "netns", "exec", space, "ping", "-f", "-q", "-c", $"{count}", address);
        Assert.True(said.Contains(" 0% packet loss", StringComparison.Ordinal), said);
        return said;
    }

    /// <summary>An iperf3 server for one client; returns when it listens.</summary>
    internal static System.Diagnostics.Process StartIperfServer(string space)
    {
        System.Diagnostics.Process server =
            Host.Start("ip", "netns", "exec", space, "iperf3", "-s", "-1", "--forceflush");
        while (server.StandardOutput.ReadLine() is { } line)
            if (line.Contains("listening", StringComparison.Ordinal))
            {
                _ = server.StandardOutput.ReadToEndAsync();   // what it says later must not fill the pipe
                return server;
            }
        throw new InvalidOperationException($"iperf3 does not listen:\n{server.StandardError.ReadToEnd()}");
    }

    public void Dispose()
    {
        foreach (string space in _spaces)
            Host.TryRun("ip", "netns", "del", space);
        foreach (string link in _links)
            Host.TryRun("ip", "link", "del", link);
    }
}
