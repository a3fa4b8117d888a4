using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Two ends of memif, of vhost-user, and two bonds, at full rate on two threads, each packet with a number.
/// DATAPLANE_SOAK_SECONDS makes it longer.</summary>
public sealed unsafe class SoakTests
{
    private const int PoolSize = 8192;
    private const string OneCable = "net_wire0 net_wire2 net_wire4 net_bonding0,MODE,member=net_wire0,"
        + "member=net_wire2,member=net_wire4";
    private const string OtherCable = "net_wire1 net_wire3 net_wire5 net_bonding1,MODE,member=net_wire1,"
        + "member=net_wire3,member=net_wire5";

    [Theory]
    [InlineData("net_memif0,role=server,socket=NAME", "net_memif1,socket=NAME")]
    [InlineData("net_memif0,role=server,socket=NAME,trust=yes", "net_memif1,socket=NAME,zero-copy=yes")]
    [InlineData("net_vhost0,iface=@NAME", "net_virtio_user1,path=@NAME")]
    [InlineData("net_vhost0,iface=@NAME", "net_virtio_user1,path=@NAME,packed_vq=1")]
    public void FullRate_EachWay_NoneIsLostOrTwice(string server, string client) => Soak(server, client, flows: 1);

    [Theory]
    [InlineData("mode=2")]
    [InlineData("mode=4,aggregate_wait_ms=0")]
    public void FullRate_BetweenBonds_EachFlowStaysInOrder(string mode) => Soak(
        OneCable.Replace("MODE", mode, StringComparison.Ordinal),
        OtherCable.Replace("MODE", mode, StringComparison.Ordinal), flows: 64);

    private static void Soak(string server, string client, int flows)
    {
        int seconds = int.TryParse(Environment.GetEnvironmentVariable("DATAPLANE_SOAK_SECONDS"), out int asked) ? asked
            : 5;
        using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "p", PoolSize, cacheSize: 0);
        using var ports = new PortList(eal, Drivers.All);
        string name = $"dp-soak-{Guid.NewGuid():N}";
        Port one = Attach(server), two = Attach(client);
        one.Start(new PortConfig(), pool);
        two.Start(new PortConfig(), pool);
        Assert.True(two.WaitForLink(TimeSpan.FromMinutes(1)).Up && one.WaitForLink(TimeSpan.FromMinutes(1)).Up);
        long end = Environment.TickCount64 + seconds * 1000L;
        var ends = new End[] { new(one, pool, flows), new(two, pool, flows) };
        int sending = 2;
        Thread[] threads = [.. ends.Select(side => new Thread(() =>
        {
            side.Run(() => Environment.TickCount64 < end, () => Interlocked.Decrement(ref sending),
                () => Volatile.Read(ref sending) > 0 || (side.Received != ends.Single(other => other != side).Sent
                    && Environment.TickCount64 < end + 60_000));
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

        Port Attach(string devices) => devices.Replace("NAME", name, StringComparison.Ordinal).Split(' ')
            .Select(ports.Attach).ToArray()[^1];
    }

    // Packet n is of flow n modulo the number of flows.
    private sealed class End(Port port, Mempool pool, int flows)
    {
        private readonly Mbuf[] _burst = new Mbuf[32];
        private readonly ulong[] _next = [.. Enumerable.Range(0, flows).Select(flow => (ulong)flow)];

        internal ulong Sent { get; private set; }

        internal ulong Received { get; private set; }

        internal string? Fault { get; private set; }

        internal void Run(Func<bool> mayGoOn, Action ended, Func<bool> isMoreToCome)
        {
            while (mayGoOn() && Fault == null)
                for (int i = 0; i < 1000; i++)
                {
                    Send();
                    Receive();
                }
            ended();
            // Whatever was under way when the last one ended its sending.
            while (isMoreToCome() && Fault == null)
                Receive();
        }

        private void Send()
        {
            if (!pool.TryAllocBulk(_burst))
                return;
            for (int i = 0; i < _burst.Length; i++)
            {
                ulong number = Sent + (ulong)i;
                var data = (ulong*)_burst[i].Append(64 + (int)(number % 3) * 40);
                (data[0], data[1]) = (number % (uint)flows << 32, 0);    // addresses, no type
                (data[2], data[3], data[7]) = (number, ~number, number);
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
                ulong number = data[2], flow = number % (uint)flows;
                if (number != _next[flow] || data[0] != flow << 32 || (data[3], data[7]) != (~number, number)
                    || packet.DataLength != 64 + (int)(number % 3) * 40)
                    Fault ??= $"packet {_next[flow]} of flow {flow} came as {number} with {packet.DataLength} bytes";
                _next[flow] = number + (uint)flows;
                Received++;
            }
            Mbuf.FreeBulk(_burst.AsSpan(0, received));
            return received;
        }
    }
}
