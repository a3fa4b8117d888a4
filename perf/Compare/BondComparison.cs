using System.Runtime.CompilerServices;
using Dataplane.Pmd;

namespace Dataplane.Perf.Compare;

/// <summary>
/// A bond of two null ports, balanced by L2 and L3 addresses, on one core: cycles per packet of bursts of 32 packets of
/// 64 flows to it, and of those from it. DPDK's side is a C twin, which does the same.
/// </summary>
internal sealed class BondComparison : IComparison
{
    private const int Burst = 32, Flows = 64, Count = 8191;
    private const string Members = "net_null0,net_null1";
    private readonly Lazy<string?> _twin = new(() => Dpdk.Twin("bond_perf"));

    public IReadOnlyList<Row> Rows { get; } =
    [
        new("bond of two null ports, 64 flows, transmit", "cycles/packet", true, 1.0, 2),
        new("bond of two null ports, receive", "cycles/packet", true, 1.0, 2),
    ];

    public string? Missing => _twin.Value == null ? "gcc, pkg-config and libdpdk-dev" : null;

    public double[] Theirs()
    {
        string text = Dpdk.Program(_twin.Value!, "0", [.. Members.Split(','),
            "net_bonding0,mode=2,slave=net_null0,slave=net_null1,xmit_policy=l23"], ["1"]);
        for (int member = 0; member < 2; member++)
            RequireShare(Dpdk.Number(text, $"member {member} sent ([0-9]+)"));
        return [Dpdk.Number(text, "transmit ([0-9.]+)"), Dpdk.Number(text, "receive ([0-9.]+)")];
    }

    public double[] Ours()
    {
        using Eal eal = Comparisons.StartEal();
        using var ports = new PortList(eal, Drivers.All);
        Port[] members = [.. Members.Split(',').Select(ports.Attach)];
        Port bond = ports.Attach("net_bonding0,mode=2,member=net_null0,member=net_null1,xmit_policy=l23");
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "compare", Count, cacheSize: 250);
        bond.Start(new PortConfig(), pool, 512);
        double transmit = 0, receive = 0;
        eal.Launch(0, lcore =>
        {
            WriteFlows(pool);
            while (Measure(() => Transmit(bond.TxQueues[0], pool), 0.2) == 0)
                _ = bond.GetLink();
            transmit = Measure(() => Transmit(bond.TxQueues[0], pool), 1);
            Measure(() => Receive(bond.RxQueues[0]), 0.2);
            receive = Measure(() => Receive(bond.RxQueues[0]), 1);
            return 0;
        });
        eal.Wait(0);
        foreach (Port member in members)
            RequireShare(member.GetStats().TxPackets);
        bond.Stop();
        return [transmit, receive];
    }

    private static void RequireShare(double sent)
    {
        if (sent < 1e6)
            throw new DataplaneException($"a member sent {sent} packets only");
    }

    // The bytes stay in the pool's buffers, which go round.
    private static void WriteFlows(Mempool pool)
    {
        var all = new Mbuf[Count];
        int count = 0;
        while (count < Count && pool.TryAlloc(out all[count]))
            count++;
        byte[] frame = new byte[64];
        Convert.FromHexString("020000000000020000000001" + "0800" + "4500003200000000401100" + "00" + "c6120001"
            + "c6120100").CopyTo(frame, 0);
        for (int i = 0; i < count; i++)
        {
            frame[33] = (byte)(i % Flows);
            all[i].TryAppend(frame.Length, out Span<byte> room);
            frame.CopyTo(room);
        }
        Mbuf.FreeBulk(all.AsSpan(0, count));
    }

    private static double Measure(Func<ulong> rounds, double seconds)
    {
        ulong end = (ulong)(seconds * Tsc.Hz), packets = 0, start = Tsc.Read(), now;
        do
        {
            packets += rounds();
            now = Tsc.Read();
        }
        while (now - start < end);
        return packets == 0 ? 0 : (double)(now - start) / packets;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ulong Transmit(TxQueue queue, Mempool pool)
    {
        Span<Mbuf> burst = stackalloc Mbuf[Burst];
        ulong packets = 0;
        for (int round = 0; round < 1000; round++)
        {
            if (!pool.TryAllocBulk(burst))
                throw new DataplaneException("the pool ran empty");
            foreach (Mbuf packet in burst)
                packet.TryAppend(64, out Span<byte> _);
            int sent = queue.TxBurst(burst);
            Mbuf.FreeBulk(burst[sent..]);
            packets += (uint)sent;
        }
        return packets;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ulong Receive(RxQueue queue)
    {
        Span<Mbuf> burst = stackalloc Mbuf[Burst];
        ulong packets = 0;
        for (int round = 0; round < 1000; round++)
        {
            int received = queue.RxBurst(burst);
            Mbuf.FreeBulk(burst[..received]);
            packets += (uint)received;
        }
        return packets;
    }
}
