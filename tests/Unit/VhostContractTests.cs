namespace Dataplane.Tests;

/// <summary>The driver contract on a vhost-user front end and back end of ours, in one process.</summary>
public abstract class VhostContract : DriverContract
{
    private static int s_sockets;

    private readonly string _socket =
        $"@dataplane-contract-{Environment.ProcessId}-{Interlocked.Increment(ref s_sockets)}";

    /// <summary>More arguments of the front end.</summary>
    protected virtual string Front => "";

    /// <summary>More arguments of the back end.</summary>
    protected virtual string Back => "";

    /// <summary>The front end sends, and listens.</summary>
    protected virtual bool FrontFirst => false;

    protected override IReadOnlyList<string> Devices => FrontFirst
        ? [$"net_virtio_user0,path={_socket},queues=8,server=1{Front}",
            $"net_vhost0,iface={_socket},queues=8,client=1{Back}"]
        : [$"net_vhost0,iface={_socket},queues=8{Back}", $"net_virtio_user0,path={_socket},queues=8{Front}"];

    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_vhost0", "net_vhost1,iface=@x,queues=65", "net_vhost2,iface=@x,client=2", "net_vhost3,iface=@x,quues=1",
        "net_vhost4,iface=@x,iommu-support=1", "net_virtio_user0", "net_virtio_user1,path=@x,mac=1",
        "net_virtio_user2,path=@x,queue_size=100", "net_virtio_user3,path=@x,packed=1",
    ];

    protected override int ManyPackets => 200_000;

    // A message of the front end wakes whoever sleeps at the back end: it looks whether it has a ring still.
    protected override bool RepeatsInterrupts => true;

    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(50);
}

public sealed class VhostSplitContract : VhostContract
{
    protected override string Front => ",in_order=0";
}

public sealed class VhostPackedContract : VhostContract
{
    protected override string Front => ",packed_vq=1,in_order=0";
}

public sealed class VhostSplitFromFrontContract : VhostContract
{
    protected override bool FrontFirst => true;
    protected override string Front => ",in_order=0";
    protected override string Back => ",tso=1";
}

public sealed class VhostPackedFromFrontContract : VhostContract
{
    protected override bool FrontFirst => true;
    protected override string Front => ",packed_vq=1,in_order=0";
}

/// <summary>Flags in place of event indexes, chains in place of indirect tables, in order.</summary>
public sealed class VhostSplitPlainContract : VhostContract
{
    protected override bool FrontFirst => true;
    protected override string Front => ",event_idx=0,indirect=0,in_order=1";
}

public sealed class VhostPackedPlainContract : VhostContract
{
    protected override bool FrontFirst => true;
    protected override string Front => ",packed_vq=1,event_idx=0,indirect=0,in_order=1";
}

/// <summary>Superframes towards the front end.</summary>
public sealed class VhostSplitTsoContract : VhostContract
{
    protected override string Front => ",in_order=1";
    protected override string Back => ",tso=1";
}

public sealed class VhostPackedTsoContract : VhostContract
{
    protected override string Front => ",packed_vq=1,in_order=1";
    protected override string Back => ",tso=1";
}
