using Dataplane.Native;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>The driver contract on two ports whose devices are models in this process.</summary>
public abstract class VirtioContract : DriverContract
{
    private protected virtual ulong Leave => VirtioFeatures.Of(VirtioConfig.VIRTIO_F_RING_PACKED);

    private protected virtual ulong More => 0;

    private protected virtual ModelOrder Order => ModelOrder.Plain;

    private protected virtual ulong Delta => 0;

    protected override IReadOnlyList<string> Devices => ["net_virtio0", "net_virtio1"];

    protected override IReadOnlyList<string> BadDevices => ["net_virtio0,packed=2", "net_virtio1,ring=split"];

    protected override IReadOnlyList<PortDriver> AllDrivers => [new ModelDriver(() => new ModelDevice
        { Offered = (ModelDevice.Everything & ~Leave) | More, Order = Order, Delta = Delta })];

    protected override int ManyPackets => 200_000;

    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(5);
}

public sealed class VirtioSplitContract : VirtioContract
{
    private protected override ulong Delta => 0x10_0000_0000;
}

public sealed class VirtioPackedContract : VirtioContract
{
    private protected override ulong Leave => 0;
    private protected override ulong Delta => 0x10_0000_0000;
}

/// <summary>Flags in place of event indexes, chains in place of indirect tables.</summary>
public sealed class VirtioSplitPlainContract : VirtioContract
{
    private protected override ulong Leave => base.Leave | VirtioFeatures.Of(VirtioRing.VIRTIO_RING_F_EVENT_IDX,
        VirtioRing.VIRTIO_RING_F_INDIRECT_DESC, VirtioNet.VIRTIO_NET_F_RSS);
}

public sealed class VirtioPackedPlainContract : VirtioContract
{
    private protected override ulong Leave => VirtioFeatures.Of(VirtioRing.VIRTIO_RING_F_EVENT_IDX,
        VirtioRing.VIRTIO_RING_F_INDIRECT_DESC, VirtioNet.VIRTIO_NET_F_RSS);
}

public sealed class VirtioSplitInOrderContract : VirtioContract
{
    private protected override ulong More => VirtioFeatures.Of(VirtioConfig.VIRTIO_F_IN_ORDER);
    private protected override ModelOrder Order => ModelOrder.Batches;
}

public sealed class VirtioPackedInOrderContract : VirtioContract
{
    private protected override ulong Leave => 0;
    private protected override ulong More => VirtioFeatures.Of(VirtioConfig.VIRTIO_F_IN_ORDER);
    private protected override ModelOrder Order => ModelOrder.Batches;
}

/// <summary>In order, with chains in the ring.</summary>
public sealed class VirtioSplitInOrderChainsContract : VirtioContract
{
    private protected override ulong Leave => base.Leave | VirtioFeatures.Of(VirtioRing.VIRTIO_RING_F_INDIRECT_DESC);
    private protected override ulong More => VirtioFeatures.Of(VirtioConfig.VIRTIO_F_IN_ORDER);
    private protected override ModelOrder Order => ModelOrder.Batches;
}
