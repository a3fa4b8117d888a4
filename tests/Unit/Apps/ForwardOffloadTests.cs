using Dataplane.Apps.Forward;

namespace Dataplane.Tests;

/// <summary>What Forward asks of ports that can do more than those they are joined with.</summary>
public sealed class ForwardOffloadTests
{
    private const TxOffloads Finishing = TxOffloads.TcpTso | TxOffloads.Ipv4Checksum | TxOffloads.TcpChecksum
        | TxOffloads.UdpChecksum;

    [Theory]
    [InlineData("io", true, true)]
    [InlineData("io", false, false)]
    [InlineData("csum", true, false)]
    public void Configure_UnfinishedPackets_OnlyWhereTheOtherPortFinishesThem(string mode, bool finishes, bool asked)
    {
        using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        using var ports = new PortList(eal, []);
        FakePort add(ushort id, TxOffloads more) => (FakePort)ports.Add(new FakePort(
            new PortContext(eal, DevArgs.Parse($"net_fake{id}"), id), Defect.None, RxOffloads.TcpLro, more));
        FakePort left = add(0, Finishing), right = add(1, finishes ? Finishing : TxOffloads.None);

        using PortSetup setup = PortSetup.Start(eal, ports, ports.Ports, new ForwardOptions { Mode = mode });

        Assert.Equal(asked, (left.Config.RxOffloads & RxOffloads.TcpLro) != 0);
        Assert.Equal(mode == "io", (right.Config.RxOffloads & RxOffloads.TcpLro) != 0);
    }
}
