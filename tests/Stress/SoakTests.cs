using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Two ends of memif, and of vhost-user, at full rate on two threads, each packet with a number.
/// DATAPLANE_SOAK_SECONDS makes it longer.</summary>
public sealed unsafe class SoakTests
{
    private const int PoolSize = 8192;

    [Theory]
    [InlineData("net_memif0,role=server,socket=NAME", "net_memif1,socket=NAME")]
    [InlineData("net_memif0,role=server,socket=NAME,trust=yes", "net_memif1,socket=NAME,zero-copy=yes")]
    [InlineData("net_vhost0,iface=@NAME", "net_virtio_user1,path=@NAME")]
    [InlineData("net_vhost0,iface=@NAME", "net_virtio_user1,path=@NAME,packed_vq=1")]
    public void FullRate_EachWay_NoneIsLostOrTwice(string server, string client)
    {
        int seconds = int.TryParse(Environment.GetEnvironmentVariable("DATAPLANE_SOAK_SECONDS"), out int asked) ? asked
            : 5;
        using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "p", PoolSize, cacheSize: 0);
        using var ports = new PortList(eal, Drivers.All);
        string name = $"dp-soak-{Guid.NewGuid():N}";
        Port one = ports.Attach(server.Replace("NAME", name, StringComparison.Ordinal));
        Port two = ports.Attach(client.Replace("NAME", name, StringComparison.Ordinal));
        one.Start(new PortConfig(), pool);
        two.Start(new PortConfig(), pool);
        Assert.True(two.WaitForLink(TimeSpan.FromMinutes(1)).Up && one.WaitForLink(TimeSpan.FromMinutes(1)).Up);
        long end = Environment.TickCount64 + seconds * 1000L;
        var ends = new End[] { new(one, pool), new(two, pool) };
        int sending = 2;
        Thread[] threads = [.. ends.Select(side => new Thread(() =>
        {
            side.Run(() => Environment.TickCount64 < end, () => Volatile.Read(ref sending) > 0,
                () => Interlocked.Decrement(ref sending));
        }))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            thread.Join();
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{ends[0].Sent} and {ends[1].Sent} packets in {seconds} s");
        Assert.All(ends, side => Assert.Null(side.Fault));
        Assert.Equal((ends[0].Sent, ends[1].Sent), (ends[1].Received, ends[0].Received));
        Assert.InRange(ends[0].Sent, 1000ul, ulong.MaxValue);
        one.Stop();
        two.Stop();
        Assert.Equal(PoolSize, pool.AvailableCount);
    }

    private sealed class End(Port port, Mempool pool)
    {
        private readonly Mbuf[] _burst = new Mbuf[32];

        internal ulong Sent { get; private set; }

        internal ulong Received { get; private set; }

        internal string? Fault { get; private set; }

        internal void Run(Func<bool> mayGoOn, Func<bool> isAnyoneSending, Action ended)
        {
            while (mayGoOn() && Fault == null)
                for (int i = 0; i < 1000; i++)
                {
                    Send();
                    Receive();
                }
            ended();
            // Whatever was under way when the last one ended its sending.
            while (isAnyoneSending())
                Receive();
            while (Receive() > 0)
                ;
        }

        private void Send()
        {
            if (!pool.TryAllocBulk(_burst))
                return;
            for (int i = 0; i < _burst.Length; i++)
            {
                ulong number = Sent + (ulong)i;
                var data = (ulong*)_burst[i].Append(64 + (int)(number % 3) * 40);
                (data[0], data[1], data[7]) = (number, ~number, number);
            }
            int sent = port.TxQueues[0].TxBurst(_burst);
            Mbuf.FreeBulk(_burst.AsSpan(sent));
            Sent += (ulong)sent;
        }

        private int Receive()
        {
            int received = port.RxQueues[0].RxBurst(_burst);
            foreach (Mbuf packet in _burst.AsSpan(0, received))
            {
                var data = (ulong*)packet.DataPointer;
                if (packet.DataLength != 64 + (int)(Received % 3) * 40 || data[0] != Received || data[1] != ~Received
                    || data[7] != Received)
                    Fault ??= $"packet {Received} came as {data[0]} with {packet.DataLength} bytes";
                Received++;
            }
            Mbuf.FreeBulk(_burst.AsSpan(0, received));
            return received;
        }
    }
}
