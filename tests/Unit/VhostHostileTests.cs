using System.Runtime.InteropServices;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>Front ends that break the rules of net_vhost, one rule at a time.</summary>
public sealed unsafe class VhostHostileTests : IDisposable
{
    private static readonly ulong s_features = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1,
        VhostUser.ProtocolFeaturesBit, VirtioNet.VIRTIO_NET_F_MRG_RXBUF);

    private static readonly ulong s_packed = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_RING_PACKED),
        s_indirect = VirtioFeatures.Of(VirtioRing.VIRTIO_RING_F_INDIRECT_DESC);

    private static readonly Dictionary<string, Func<VhostPeer, VhostMessage>> s_badSteps = new()
    {
        ["features not offered"] = _ => VhostMessage.Of(VhostRequest.SetFeatures, ulong.MaxValue),
        ["protocol features not offered"] = _ => VhostMessage.Of(VhostRequest.SetProtocolFeatures, ulong.MaxValue),
        ["ring that is not there"] = _ => State(VhostRequest.SetVringNum, 2, 64),
        ["ring of three"] = _ => State(VhostRequest.SetVringNum, 1, 3),
        ["ring of one"] = _ => State(VhostRequest.SetVringNum, 1, 1),
        ["ring too large"] = _ => State(VhostRequest.SetVringNum, 1, 65536),
        ["ring outside"] = _ => Address(VhostPeer.UserFromGuest + VhostPeer.BuffersAt + VhostPeer.BuffersBytes - 16),
        ["ring nowhere"] = _ => Address(0),
        ["ring unaligned"] = _ => Address(VhostPeer.UserFromGuest + VhostPeer.RingsAt + 8),
        ["kick without file"] = _ => VhostMessage.Of(VhostRequest.SetVringKick, 1ul),
        ["kick with two files"] = peer => VhostMessage.Of(VhostRequest.SetVringKick, 1ul, peer.File, peer.File),
        ["kick that is memory"] = peer => VhostMessage.Of(VhostRequest.SetVringKick, 1ul, peer.File),
        ["kick that is called so"] = _ => VhostMessage.Of(VhostRequest.SetVringKick, 1ul, NamedLikeAnEventfd()),
        ["too short"] = _ => new(VhostRequest.SetVringNum, new byte[7]),
        ["too long"] = _ => new(VhostRequest.SetVringNum, new byte[1025]),
        ["table without files"] = peer => peer.MemoryTable() with { Files = [] },
        ["region beyond its file"] = peer => Table(peer, Region(1 << 30)),
        ["region of nothing"] = peer => Table(peer, Region(0)),
        ["region that goes round"] = peer => Table(peer, Region() with { GuestAddress = ulong.MaxValue - 100 }),
        ["region that goes round for the peer"] = peer =>
            Table(peer, Region() with { UserAddress = ulong.MaxValue - 100 }),
        ["region at the end of all"] = peer => Table(peer, Region() with { FileOffset = ulong.MaxValue - 100 }),
        ["region that is no memory"] = peer => peer.MemoryTable((Region(), peer.Channel.Handle)),
        ["region that is a file"] = peer => peer.MemoryTable((Region(),
            File.OpenHandle(typeof(VhostHostileTests).Assembly.Location))),
        ["regions that are the same"] = peer => Table(peer, Region() with { GuestAddress = VhostPeer.BuffersAt }),
        ["region that ends in another"] = peer =>
            Table(peer, Region(8192) with { GuestAddress = VhostPeer.BuffersAt - 4096 }),
        ["region that begins in another"] = peer => Table(peer,
            Region(8192) with { GuestAddress = VhostPeer.BuffersAt + VhostPeer.BuffersBytes - 4096 }),
        ["region around another"] = peer => Table(peer, Region(VhostPeer.BuffersBytes + 8192) with
            { GuestAddress = VhostPeer.BuffersAt - 4096 }),
        ["in-flight memory too small"] = peer => Inflight(peer, 2048, 4096, 2, 64),
        ["in-flight memory beyond its file"] = peer => Inflight(peer, 1 << 30, 4096, 2, 64),
        ["in-flight memory for more rings"] = peer => Inflight(peer, 16384, 4096, 3, 64),
        ["in-flight memory for nothing"] = peer => Inflight(peer, 16384, 4096, 2, 0),
        ["in-flight memory unaligned"] = peer => Inflight(peer, 16384, 4097, 2, 64),
    };

    private readonly DriverRig _rig = new(Drivers.All, [], TimeSpan.FromMilliseconds(600), new EalOptions
    {
        NoHuge = true, NoPci = true, LogLevel = LogSeverity.Critical,
    });
    private readonly string _path = $"@dp-vhost-{Guid.NewGuid():N}";
    private readonly Mbuf[] _burst = new Mbuf[32];

    public static IEnumerable<ITheoryDataRow> BadSteps =>
        s_badSteps.Keys.Select(name => new TheoryDataRow<string>(name));

    public void Dispose()
    {
        _rig.Stop();
        _rig.AssertAllBack("stopped");
        _rig.Dispose();
    }

    [Theory]
    [MemberData(nameof(BadSteps))]
    public void Message_AgainstTheRules_EndsThatConnectionAlone(string step)
    {
        Port port = Start();
        using (VhostPeer peer = Connect())
        {
            Assert.True(port.GetLink().Up);
            Assert.True(peer.Send(s_badSteps[step](peer)));
            Assert.Null(peer.Ask(new(VhostRequest.GetFeatures, [])));
            peer.AssertCanaries();
        }
        using VhostPeer next = Connect();
        AssertServed(port, next);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Memory_ThatCanBeCut_IsRefusedWhereSealedIsAskedFor(bool inflight)
    {
        Port port = Start(",sealed=1");
        using VhostPeer peer = Connect();
        AssertServed(port, peer);
        using SafeFileHandle open = Mman.memfd_create("open", Mman.MFD_CLOEXEC);
        Assert.Equal(0, Fcntl.ftruncate(open, 1 << 20));
        Assert.True(peer.Send(!inflight ? peer.MemoryTable((Region(), open))
            : VhostMessage.Of(VhostRequest.SetInflightFd, new VhostInflightDescription
                { Bytes = 16384, Queues = 2, QueueSize = 64 }, open)));
        Assert.Null(peer.Ask(new(VhostRequest.GetFeatures, [])));
    }

    /// <summary>The back end before this one had taken three buffers of four, and given one or two back.</summary>
    /// <param name="counted">It died between counting the second and noting that.</param>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void InflightOfASplitRing_LeftByTheDead_IsDoneFirstAsItCame(bool counted)
    {
        Port port = Start();
        using VhostPeer peer = Connect();
        VhostPeerRing ring = Offer(peer, 4);
        byte* memory = InflightMemory(peer, SplitInflight.Bytes(VhostPeerRing.Size));
        var header = (VhostInflightHeader*)memory;
        var entries = (VhostInflightEntry*)(header + 1);
        *header = new() { Version = 1, Entries = VhostPeerRing.Size, UsedIndex = 1, LastBatchHead = 1 };
        entries[0] = new() { InFlight = 1, Counter = 5 };
        entries[2] = new() { InFlight = 1, Counter = 3 };
        Span<ushort> used = MemoryMarshal.Cast<byte, ushort>(ring.Device);
        (used[1], used[2]) = (1, 1);
        if (counted)
        {
            (used[1], used[6], header->LastBatchHead) = (2, 0, 0);
            entries[0].Next = 1;
        }
        peer.Tell(Inflight(peer, 8192, InflightFrom, 2, VhostPeerRing.Size));
        Assert.Equal(counted ? [102, 103] : [102, 100, 103], Receive(port));
        Assert.Equal(4, used[1]);
        Assert.Equal(4, header->UsedIndex);
        for (int i = 0; i < 4; i++)
            Assert.Equal(0, entries[i].InFlight);
        AssertServed(port, peer);
        Assert.Equal(5, header->UsedIndex);
        Assert.Equal(0, entries[4].InFlight);
    }

    /// <summary>The back end before this one died while it gave two buffers of four back.</summary>
    /// <param name="seen">The front end sees them.</param>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void InflightOfAPackedRing_LeftByTheDead_GoesOnBehindWhatWasSeen(bool seen)
    {
        Port port = Start();
        using VhostPeer peer = Connect(s_packed);
        VhostPeerRing ring = Offer(peer, 4);
        var inflight = (PackedInflight*)InflightMemory(peer, PackedInflight.Bytes(VhostPeerRing.Size));
        *inflight = new()
        {
            Version = 1, Entries = VhostPeerRing.Size, UsedIndex = 2, UsedWrap = 1, OldUsedIndex = 0, OldUsedWrap = 1,
        };
        if (seen)
            ring.Change("used");
        peer.Tell(Inflight(peer, 16384, InflightFrom, 2, VhostPeerRing.Size));
        Assert.Equal(seen ? [102, 103] : [100, 101, 102, 103], Receive(port));
        Assert.Equal(4, inflight->UsedIndex);
        Assert.Equal(4, inflight->OldUsedIndex);
        AssertServed(port, peer);
    }

    private const ulong InflightFrom = VhostPeer.BuffersFrom + 0x2_0000;

    private static byte* InflightMemory(VhostPeer peer, ulong stride)
    {
        peer.Buffers[0x2_0000..].Clear();
        return peer.Memory + InflightFrom + stride;   // of ring 1
    }

    /// <summary>Offers packets of 100 bytes, 101, and so on.</summary>
    private static VhostPeerRing Offer(VhostPeer peer, int count)
    {
        peer.Buffers.Clear();
        for (int i = 0; i < count; i++)
            Assert.True(peer.Rings[1].TryAdd([new VirtioPart(VhostPeer.BuffersAt + (ulong)i * 4096, 112 + (uint)i)],
                indirect: false));
        peer.Rings[1].Publish();
        return peer.Rings[1];
    }

    private int[] Receive(Port port)
    {
        int received = port.RxQueues[0].RxBurst(_burst);
        int[] lengths = [.. _burst.Take(received).Select(packet => packet.PacketLength)];
        Mbuf.FreeBulk(_burst.AsSpan(0, received));
        return lengths;
    }

    public static IEnumerable<ITheoryDataRow> Faults =>
        from packed in (bool[])[false, true]
        from name in (string[])["straddles", "nowhere", "direction", "loop", "nested", "odd table", "not agreed on",
            "empty table", "long chain", "id", "index", "table index"]
        where !packed || name is not ("id" or "index" or "table index" or "nested")
        select new TheoryDataRow<bool, string>(packed, name);

    [Theory]
    [MemberData(nameof(Faults))]
    public void Ring_AgainstTheRules_IsBrokenAndTheOtherGoesOn(bool packed, string name)
    {
        Port port = Start();
        using VhostPeer peer = Connect((packed ? s_packed : 0) | (name == "not agreed on" ? 0 : s_indirect));
        VhostPeerRing ring = peer.Rings[1];
        VhostFault expected = Spoil(ring, name);
        Assert.Equal(0, port.RxQueues[0].RxBurst(_burst));
        Assert.Equal(expected, ((VhostRxQueue)port.RxQueues[0]).Gate.Ring!.Fault);
        Assert.Equal(1ul, port.GetXstats().Single(x => x.Name == "rx_q0_broken").Value);
        Assert.Equal(0, port.RxQueues[0].RxBurst(_burst));
        AssertSends(port, peer);
        peer.AssertCanaries();
        peer.Restart(1);
        AssertServed(port, peer);
    }

    private static VhostFault Spoil(VhostPeerRing ring, string name)
    {
        const ulong at = VhostPeer.BuffersAt;
        var good = new VirtioPart(at, 100);
        VirtioPart[] two = [good, good];
        bool indirect = name is "nested" or "odd table" or "not agreed on" or "empty table" or "table index"
            or "long chain";
        VirtioPart[] parts = name switch
        {
            "straddles" => [new(at + VhostPeer.BuffersBytes - 99, 100)],
            "nowhere" => [new(at - 1, 100)],
            "long chain" => [.. Enumerable.Repeat(good, 257)],
            "loop" => [.. Enumerable.Repeat(good, VhostPeerRing.Size)],
            _ => two,
        };
        Assert.True(ring.TryAdd(parts, indirect));
        ring.Change(name);
        ring.Publish();
        return name switch
        {
            "straddles" or "nowhere" => VhostFault.BadAddress,
            "direction" => VhostFault.BadDirection,
            "loop" or "long chain" => VhostFault.BadChain,
            "id" or "table index" => VhostFault.BadIndex,
            "index" => VhostFault.AvailIndex,
            _ => VhostFault.BadTable,
        };
    }

    private void AssertServed(Port port, VhostPeer peer)
    {
        Assert.True(peer.Rings[1].TryAdd([new VirtioPart(VhostPeer.BuffersAt, 2000)], indirect: false));
        peer.Buffers[..12].Clear();
        peer.Rings[1].Publish();
        Assert.Equal(1, port.RxQueues[0].RxBurst(_burst));
        Assert.Equal(1988, _burst[0].PacketLength);
        _burst[0].Free();
        AssertSends(port, peer);
    }

    private void AssertSends(Port port, VhostPeer peer)
    {
        Assert.True(peer.Rings[0].TryAdd([new VirtioPart(VhostPeer.BuffersAt + 4096, 2000)], indirect: false));
        peer.Rings[0].Publish();
        int room = peer.Rings[0].Room;
        Assert.Equal(1, _rig.Make(_burst.AsSpan(0, 1), 60));
        Assert.Equal(1, port.TxQueues[0].TxBurst(_burst.AsSpan(0, 1)));
        peer.Rings[0].Reclaim();
        Assert.Equal(room + 1, peer.Rings[0].Room);
    }

    private Port Start(string arguments = "")
    {
        Port port = _rig.Ports.Attach($"net_vhost0,iface={_path}{arguments}");
        port.Start(new PortConfig(), _rig.Pool);
        return port;
    }

    private VhostPeer Connect(ulong more = 0)
    {
        VhostPeer peer = VhostPeer.ConnectTo(_path, (more & s_packed) != 0);
        peer.Handshake(s_features | more);
        return peer;
    }

    private static SafeFileHandle NamedLikeAnEventfd()
    {
        string folder = Directory.CreateTempSubdirectory("dp-vhost").FullName;
        return File.OpenHandle(Path.Combine(folder, "anon_inode:[eventfd]"), FileMode.Create, FileAccess.ReadWrite,
            FileShare.ReadWrite, FileOptions.DeleteOnClose);
    }

    private static VhostMessage State(VhostRequest request, uint index, uint number) =>
        VhostMessage.Of(request, new vhost_vring_state { index = index, num = number });

    private static VhostMessage Address(ulong at) => VhostMessage.Of(VhostRequest.SetVringAddr, new vhost_vring_addr
    {
        index = 1, desc_user_addr = at, avail_user_addr = at, used_user_addr = at,
    });

    private static VhostRegion Region(ulong bytes = 4096) =>
        new() { GuestAddress = 0x1000, UserAddress = 0x1000, Bytes = bytes };

    /// <summary>All that is right already, so that the rings would still lie in it, and one more.</summary>
    private static VhostMessage Table(VhostPeer peer, VhostRegion region) => peer.MemoryTable((region, peer.File));

    private static VhostMessage Inflight(VhostPeer peer, ulong bytes, ulong offset, ushort queues, ushort size) =>
        VhostMessage.Of(VhostRequest.SetInflightFd, new VhostInflightDescription
            { Bytes = bytes, FileOffset = offset, Queues = queues, QueueSize = size }, peer.File);
}
