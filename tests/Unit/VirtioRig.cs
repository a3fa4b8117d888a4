using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>One virtio port on a model device, and a pool for it.</summary>
internal sealed unsafe class VirtioRig : IDisposable
{
    internal const int PoolSize = 2048;

    internal VirtioRig(ModelDevice device, string arguments = "", int dataRoom = Mbuf.DefaultBufferSize)
    {
        Device = device;
        Eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        Pool = Mempool.CreateMbufPool(Eal.Memory, "rig", PoolSize, cacheSize: 0, dataRoomBytes: dataRoom);
        var context = new PortContext(Eal, DevArgs.Parse("net_virtio0" + arguments), 0);
        Port = new VirtioPort(context, VirtioOptions.Parse(context.Args), device);
    }

    internal ModelDevice Device { get; }
    internal Eal Eal { get; }
    internal Mempool Pool { get; }
    internal VirtioPort Port { get; }
    internal RxQueue Rx => Port.RxQueues[0];
    internal TxQueue Tx => Port.TxQueues[0];

    /// <summary>The device's side of the first queue of a kind.</summary>
    internal ModelQueue RxModel => Device.Queue(0)!;
    internal ModelQueue TxModel => Device.Queue(1)!;

    internal void Start(RxOffloads rx = 0, TxOffloads tx = 0, int queues = 1) => Port.Start(new PortConfig
        { RxOffloads = rx, TxOffloads = tx, RxQueues = queues, TxQueues = queues }, Pool);

    internal ulong Xstat(string name) => Port.GetXstats().Single(xstat => xstat.Name == name).Value;

    internal Mbuf Packet(int length, byte fill = 0x5a)
    {
        Mbuf packet = Pool.Alloc();
        new Span<byte>(packet.Append(length), length).Fill(fill);
        return packet;
    }

    internal void AssertAllBack() => Assert.Equal(PoolSize, Pool.AvailableCount);

    public void Dispose()
    {
        Port.Dispose();
        Pool.Dispose();
        Eal.Dispose();
    }
}
