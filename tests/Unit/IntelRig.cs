using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>An environment, a pool, a port of one queue each way, and the device behind it.</summary>
internal sealed unsafe class IntelRig : IDisposable
{
    internal const int PoolSize = 512;

    private IntelRig(Eal eal) => Eal = eal;

    internal Eal Eal { get; }
    internal Mempool Pool { get; private set; } = null!;
    internal Port Port { get; private set; } = null!;
    internal NicModel Model { get; private set; } = null!;
    internal RxQueue Rx => Port.RxQueues[0];
    internal TxQueue Tx => Port.TxQueues[0];

    internal static IntelRig Create(string driver, PortConfig? config = null, int poolSize = PoolSize,
        bool restoresTags = false, ulong stamp = 0) => driver == "igb"
            ? Create<IgbRxFormat, IgbTxFormat>(config, poolSize, restoresTags, stamp)
            : Create<E1000eRxFormat, E1000eTxFormat>(config, poolSize, restoresTags, stamp);

    /// <summary>Takes mbufs and fills them with frames whose bytes tell which they are.</summary>
    internal Mbuf[] Make(int count, int bytes = 60)
    {
        var packets = new Mbuf[count];
        Assert.True(Pool.TryAllocBulk(packets));
        for (int i = 0; i < count; i++)
            Frame(bytes, i).CopyTo(new Span<byte>(packets[i].Append(bytes), bytes));
        return packets;
    }

    internal static byte[] Frame(int bytes, int number)
    {
        var frame = new byte[bytes];
        for (int i = 0; i < bytes; i++)
            frame[i] = (byte)(i + number);
        return frame;
    }

    public void Dispose()
    {
        Port?.Dispose();
        Pool?.Dispose();
        Eal.Dispose();
    }

    private static IntelRig Create<TRx, TTx>(PortConfig? config, int poolSize, bool restoresTags, ulong stamp)
        where TRx : struct, IRxFormat where TTx : struct, ITxFormat
    {
        var rig = new IntelRig(Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true }));
        try
        {
            rig.Pool = Mempool.CreateMbufPool(rig.Eal.Memory, "nic", poolSize, cacheSize: 0);
            var port = new NicPort<TRx, TTx>(new PortContext(rig.Eal, DevArgs.Parse("net_nic0"), 7))
            {
                RestoresTags = restoresTags,
                NextStamp = stamp,
            };
            rig.Port = port;
            port.Start(config ?? new PortConfig(), rig.Pool);
            rig.Model = new NicModel(port.Nic.Bar, port.Rx.RingIova, 64, port.Tx.RingIova, 64);
            return rig;
        }
        catch
        {
            rig.Dispose();
            throw;
        }
    }
}
