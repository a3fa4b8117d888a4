namespace Dataplane.Tests;

/// <summary>A port that reads the file it writes.</summary>
public sealed class PcapLoopDriverContract : DriverContract, IDisposable
{
    private readonly PcapFolder _folder = new();

    protected override IReadOnlyList<string> Devices =>
    [
        $"net_pcap0,tx_pcap={_folder["a"]},tx_pcap={_folder["b"]},rx_pcap={_folder["a"]},rx_pcap={_folder["b"]},"
            + "follow=1,flush=0",
    ];

    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_pcap0", "net_pcap1,rx_pcap=", $"net_pcap2,rx_pcap={_folder["none"]}",
        $"net_pcap3,tx_pcap={_folder["no/where"]}",
        $"net_pcap4,tx_pcap={_folder["x"]},snaplen=13", $"net_pcap5,tx_pcap={_folder["x"]},format=gif",
        $"net_pcap6,tx_pcap={_folder["x"]},tx_pcap={_folder["./x"]}", $"net_pcap7,tx_pcap={_folder["x"]},infinite_rx=1",
        $"net_pcap8,tx_pcap={_folder["x"]},rx_pcap={_folder["x"]}", $"net_pcap9,rx_pcap={_folder.Path}",
        $"net_pcap10,tx_pcap={_folder["x"]},iface=lo", $"net_pcap11,rxpcap={_folder["x"]}",
    ];

    protected override int ManyPackets => 200_000;

    public void Dispose() => _folder.Dispose();
}

/// <summary>A file played for ever; what is sent goes nowhere.</summary>
public sealed class PcapReplayDriverContract : DriverContract, IDisposable
{
    private readonly PcapFolder _folder = new();

    protected override IReadOnlyList<string> Devices =>
        [$"net_pcap0,rx_pcap={_folder["in"]},infinite_rx=1,tx_pcap=/dev/null,format=pcapng"];

    protected override IReadOnlyList<string> BadDevices =>
    [
        $"net_pcap0,rx_pcap={_folder["empty"]},infinite_rx=1", $"net_pcap1,rx_pcap={_folder["in"]},infinite_rx=1,eof=1",
    ];

    protected override bool MakesItsOwn => true;

    protected override void Prepare()
    {
        File.WriteAllBytes(_folder["in"], PcapBytes.File(
            Enumerable.Range(0, 100).Select(i => new TestPacket((ulong)i * 1000, new byte[60 + i])), new()));
        File.WriteAllBytes(_folder["empty"], PcapBytes.File([], new()));
    }

    public void Dispose() => _folder.Dispose();
}
