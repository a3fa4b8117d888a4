namespace Dataplane.Perf.Compare;

/// <summary>Every comparison, in the order of the table.</summary>
internal static class Comparisons
{
    /// <summary>All of them; in a lab machine, those on its NICs.</summary>
    public static IReadOnlyList<IComparison> All { get; } =
        Environment.GetEnvironmentVariable("LAB_NICS") is { Length: > 0 } nics ? NicComparison.All(nics)
        : [new RingComparison(), new StackComparison(), new MempoolComparison(), new ForwardComparison(),
            new BondComparison(), new TelemetryComparison(oneProcess: true), new TelemetryComparison(oneProcess: false),
            new CaptureGoneComparison(), new CaptureComparison("null to null io, capture attached : detached", false),
            new CaptureComparison("af_packet on veth transmit, capture attached : detached", true),
            new VethComparison("net_af_packet", "af_packet on veth", forwards: false),
            new VethComparison("net_af_xdp", "af_xdp on veth, native", forwards: true),
            PeerComparison.Memif, PeerComparison.Vhost, PeerComparison.VirtioUser, new StartupComparison()];

    /// <summary>The environment our side runs in: what DPDK's side gets on its command line.</summary>
    public static Eal StartEal() => Eal.Initialize(EalOptions.Parse(["-l", "0,1", "-m", "512", "--in-memory"], out _));

    /// <summary>A table on lines of its own, as the peer has from rte_zmalloc; it goes with the environment.</summary>
    public static unsafe Span<T> Aligned<T>(Eal eal, int count) where T : unmanaged =>
        new(eal.Memory.Zmalloc((nuint)(count * sizeof(T))), count);
}
