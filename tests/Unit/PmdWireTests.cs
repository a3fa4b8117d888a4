using Dataplane.Pmd;

namespace Dataplane.Tests;

public class PmdWireTests
{
    [Fact]
    public void Wire_SentAtOneEnd_ArrivesAtTheOther()
    {
        using Eal eal = Eal.Initialize(new EalOptions { Vdevs = ["net_null0,size=100", "net_wire0", "net_wire1"] });
        using PortList ports = PortList.Probe(eal, Drivers.All);
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "p", 512);
        foreach (Port port in ports.Ports)
        {
            port.Configure(new PortConfig());
            port.SetupRxQueue(0, pool);
            port.SetupTxQueue(0);
            port.Start();
        }
        Assert.True(ports.Find("net_wire0")!.GetLink().Up);
        var burst = new Mbuf[32];
        Assert.Equal(32, ports.Ports[0].RxQueues[0].RxBurst(burst));
        Assert.Equal(32, ports.Ports[1].TxQueues[0].TxBurst(burst));
        Assert.Equal(480, pool.AvailableCount);
        Assert.Equal(32, ports.Ports[2].RxQueues[0].RxBurst(burst));
        Assert.Equal(100, burst[31].PacketLength);
        Assert.Equal(20, ports.Ports[2].TxQueues[0].TxBurst(burst.AsSpan(0, 20)));
        Mbuf.FreeBulk(burst.AsSpan(20));
        foreach (Port port in ports.Ports)
            port.Stop();
        Assert.Equal(512, pool.AvailableCount);
    }
}
