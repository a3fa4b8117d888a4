using System.Buffers.Binary;
using Dataplane.Native;
using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>What a front end that keeps the rules is told by net_vhost, word for word.</summary>
public sealed unsafe class VhostFrontEndTests : IDisposable
{
    private const int HeaderBytes = 12, BufferBytes = 700, CountAt = 10;
    private static readonly ulong s_features = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1,
        VhostUser.ProtocolFeaturesBit, VirtioNet.VIRTIO_NET_F_MRG_RXBUF);

    private readonly DriverRig _rig = new(Drivers.All, [], TimeSpan.FromMilliseconds(600), new EalOptions
        { NoHuge = true, NoPci = true, LogLevel = LogSeverity.Critical });
    private readonly string _path = $"@dp-vhost-{Guid.NewGuid():N}";
    private readonly Port _port;
    private readonly Mbuf[] _burst = new Mbuf[64];

    public VhostFrontEndTests()
    {
        _port = _rig.Ports.Attach($"net_vhost0,iface={_path},tso=1");
        _port.Start(new PortConfig { TxOffloads = _port.Info.TxOffloads & ~TxOffloads.FastFree }, _rig.Pool);
    }

    public void Dispose()
    {
        _rig.Stop();
        _rig.AssertAllBack("stopped");
        _rig.Dispose();
    }

    /// <summary>VIRTIO 1.2 §2.7.7, §2.8.10: also of what was received: the driver may wait for
    /// its buffers.</summary>
    [Theory]
    [InlineData(false, 0)]
    [InlineData(false, 1)]
    [InlineData(true, 0)]
    [InlineData(true, 1)]
    public void GivenBack_DriverWantsToBeTold_ItsEventfdIsSignalledAndNotElse(bool packed, int ring)
    {
        using VhostPeer peer = Connect(packed);
        foreach (bool wanted in (bool[])[true, false, true])
        {
            peer.Rings[ring].WantCalls(wanted);
            _ = Eventfd.Drain(peer.Signal);
            Move(peer, ring);
            Assert.Equal(wanted ? 1ul : 0, Eventfd.Drain(peer.Signal));
        }
    }

    /// <summary>vhost-user.rst, "Virtqueue state": where a back end that comes next would go on.</summary>
    [Theory]
    [InlineData(false, 0)]
    [InlineData(false, 1)]
    [InlineData(true, 0)]
    [InlineData(true, 1)]
    public void GetVringBase_AfterSomeBuffers_SaysWhereToGoOn(bool packed, int ring)
    {
        using VhostPeer peer = Connect(packed);
        for (int moved = 0; moved <= 3 * VhostPeerRing.Size; moved++)
        {
            if (moved is 0 or 1 or 5 or VhostPeerRing.Size - 1 or VhostPeerRing.Size or 2 * VhostPeerRing.Size + 7)
            {
                uint place = (uint)(moved % VhostPeerRing.Size)
                    | (moved / VhostPeerRing.Size % 2 == 0 ? 1u << 15 : 0);
                ulong number = packed ? place | place << 16 : (uint)moved;
                var state = new vhost_vring_state { index = (uint)ring };
                Assert.Equal((uint)ring | number << 32,
                    peer.Ask(VhostMessage.Of(VhostRequest.GetVringBase, state)));
                peer.Resume(ring, (uint)number);
            }
            Move(peer, ring);
        }
    }

    /// <summary>VIRTIO 1.2 §5.1.6.4.1: the first of a frame's buffers says how many there are.</summary>
    [Theory]
    [InlineData(false, 600)]
    [InlineData(false, 688)]
    [InlineData(false, 689)]
    [InlineData(false, 3000)]
    [InlineData(true, 600)]
    [InlineData(true, 689)]
    [InlineData(true, 3000)]
    public void Frames_OverSeveralBuffers_HaveTheirCountInTheFirst(bool packed, int length)
    {
        using VhostPeer peer = Connect(packed);
        for (int round = 0; round < 3; round++)
        {
            byte[] frame = [.. Enumerable.Range(round, length).Select(i => (byte)i)];
            OfferBuffers(peer, 20, garbage: round != 1);
            Assert.Equal(3, _port.TxQueues[0].TxBurst([_rig.Packet(frame), _rig.Packet(frame), _rig.Packet(frame)]));
            Assert.Equal([frame, frame, frame], Frames(peer, 3));
            peer.Restart(0);
        }
    }

    /// <summary>A superframe for a driver that takes none: each frame it is cut into counts for itself.</summary>
    [Theory]
    [InlineData(false, 500, 1)]
    [InlineData(false, 1400, 3)]
    [InlineData(true, 500, 1)]
    [InlineData(true, 1400, 3)]
    public void Superframe_IsCut_EachFrameHasItsOwnCount(bool packed, int segmentBytes, int buffersEach)
    {
        using VhostPeer peer = Connect(packed);
        OfferBuffers(peer, 20, garbage: true);
        var frame = new TestFrame(9) { Tcp = true, PayloadBytes = 4 * segmentBytes };
        Mbuf packet = _rig.Packet(frame.Build(), segmentBytes: 2000);
        packet.Flags |= MbufFlags.TxTcpSegment | MbufFlags.TxTcpChecksum | MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum;
        packet.SetTxOffload(frame.L2Bytes, frame.L3Bytes, frame.L4Bytes, segmentBytes);
        Assert.True(ChecksumOffload.TryPrepare(packet));
        Assert.Equal(1, _port.TxQueues[0].TxBurst([packet]));
        byte[][] frames = Frames(peer, 4);
        Assert.All(frames, one => Assert.Equal(frame.HeaderBytes + segmentBytes, one.Length));
        Assert.Equal(VhostPeerRing.Size - 20 + 4 * buffersEach, RoomOf(peer));
    }

    private static int RoomOf(VhostPeer peer)
    {
        peer.Rings[0].Reclaim();
        return peer.Rings[0].Room;
    }

    /// <summary>One packet from the front end, or to it.</summary>
    private void Move(VhostPeer peer, int ring)
    {
        Assert.True(peer.Rings[ring].TryAdd([new VirtioPart(VhostPeer.BuffersAt, 2000)], indirect: false));
        peer.Buffers[..HeaderBytes].Clear();
        peer.Rings[ring].Publish();
        int room = peer.Rings[ring].Room;
        if (ring == 0)
        {
            Assert.Equal(1, _rig.Make(_burst.AsSpan(0, 1), 60));
            Assert.Equal(1, _port.TxQueues[0].TxBurst(_burst.AsSpan(0, 1)));
        }
        else
        {
            Assert.Equal(1, _port.RxQueues[0].RxBurst(_burst));
            _burst[0].Free();
        }
        peer.Rings[ring].Reclaim();
        Assert.Equal(room + 1, peer.Rings[ring].Room);
    }

    /// <summary>Buffers of one size for what is sent.</summary>
    /// <param name="peer">Whose.</param>
    /// <param name="count">How many.</param>
    /// <param name="garbage">They hold something; else what a header mostly says.</param>
    private static void OfferBuffers(VhostPeer peer, int count, bool garbage)
    {
        peer.Buffers.Fill(garbage ? (byte)0xa5 : (byte)0);
        for (int i = 0; i < count; i++)
        {
            if (!garbage)
                peer.Buffers[i * BufferBytes + CountAt] = 1;
            Assert.True(peer.Rings[0].TryAdd([new VirtioPart(VhostPeer.BuffersAt + (ulong)(i * BufferBytes),
                BufferBytes)], indirect: false));
        }
        peer.Rings[0].Publish();
    }

    /// <summary>The frames that the buffers hold, as a driver takes them: by the count in the first of each and the
    /// length of all.</summary>
    private static byte[][] Frames(VhostPeer peer, int count)
    {
        var frames = new byte[count][];
        for (int i = 0, at = 0; i < count; i++)
        {
            Span<byte> first = peer.Buffers.Slice(at * BufferBytes, BufferBytes);
            Assert.True(first[..CountAt].IndexOfAnyExcept((byte)0) < 0, "the header asks for something");
            int buffers = BinaryPrimitives.ReadUInt16LittleEndian(first[CountAt..]);
            Assert.InRange(buffers, 1, 20 - at);
            var bytes = new List<byte>();
            for (int part = 0; part < buffers; part++, at++)
                bytes.AddRange(peer.Buffers.Slice(at * BufferBytes, peer.Rings[0].Written(at)));
            frames[i] = [.. bytes[HeaderBytes..]];
        }
        return frames;
    }

    private VhostPeer Connect(bool packed)
    {
        VhostPeer peer = VhostPeer.ConnectTo(_path, packed);
        peer.Handshake(s_features | (packed ? VirtioFeatures.Of(VirtioConfig.VIRTIO_F_RING_PACKED) : 0));
        return peer;
    }
}
