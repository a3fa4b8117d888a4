namespace Dataplane.Pmd;

/// <summary>Every driver of this assembly.</summary>
public static class Drivers
{
    /// <summary>All of them, for <see cref="PortList.Probe"/>.</summary>
    public static IReadOnlyList<PortDriver> All { get; } =
    [
        new NullPmd(), new RingPmd(), new WirePmd(), new AfPacketPmd(), new AfXdpPmd(), new PcapPmd(), new TapPmd(),
        new TunPmd(), new IgbPmd(), new IgbvfPmd(), new E1000ePmd(), new VirtioPmd(), new VirtioUserPmd(),
        new VhostPmd(), new MemifPmd(), new BondingPmd(),
    ];
}
