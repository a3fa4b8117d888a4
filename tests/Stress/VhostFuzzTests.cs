using System.Buffers;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>Front ends that lie to net_vhost, in messages and in rings.</summary>
public sealed unsafe class VhostFuzzTests : FuzzBase
{
    private static readonly ulong s_features = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1,
        VhostUser.ProtocolFeaturesBit, VirtioRing.VIRTIO_RING_F_INDIRECT_DESC, VirtioRing.VIRTIO_RING_F_EVENT_IDX,
        VirtioNet.VIRTIO_NET_F_MRG_RXBUF, VirtioNet.VIRTIO_NET_F_CSUM);

    private static readonly ulong s_packed = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_RING_PACKED);

    // The filling, and what either side writes into headers.
    private static readonly SearchValues<byte> s_shared =
        SearchValues.Create([Filling, .. Enumerable.Range(0, 65).Select(small => (byte)small)]);

    private readonly int[] _fullSince = new int[2];
    private int _restarts;

    [Fact]
    public void BackEnd_MutatedMessages_CostOnlyTheirConnection()
    {
        Port backEnd = StartBackEnd();
        int sent = 0, connections = 0, up = 0;
        while (sent < Messages)
        {
            bool packed = Random.Next(2) == 0;
            using VhostPeer peer = VhostPeer.ConnectTo("@" + Name, packed);
            // Else the backlog is full before long.
            Assert.NotNull(peer.Ask(new(VhostRequest.GetFeatures, [])));
            connections++;
            VhostMessage[] script = [.. peer.Script(s_features | (packed ? s_packed : 0))];
            VhostMessage[] others = [.. script, .. peer.Others()];
            for (int i = 0; i < script.Length + 8 && sent < Messages; i++, sent++)
            {
                VhostMessage message = i >= script.Length || Random.Next(8) == 0 ? others[Random.Next(others.Length)]
                    : script[i];
                if (!Send(peer, message))
                    break;
                if (i % 4 == 0)
                    Poll(backEnd);
            }
            up += backEnd.GetLink().Up ? 1 : 0;
        }
        Assert.InRange(connections, 1000, Messages);
        Assert.InRange(up, 10, connections);
        AssertAlive(backEnd);
    }

    [Theory]
    [InlineData(false, RxOffloads.None)]
    [InlineData(false, RxOffloads.Scatter)]
    [InlineData(true, RxOffloads.None)]
    [InlineData(true, RxOffloads.Scatter | RxOffloads.VlanStrip)]
    public void BackEnd_MutatedRings_ReadAndWriteOnlyWhatIsShared(bool packed, RxOffloads offloads)
    {
        Port backEnd = StartBackEnd(offloads);
        using VhostPeer peer = VhostPeer.ConnectTo("@" + Name, packed);
        peer.Handshake(s_features | (packed ? s_packed : 0));
        ulong received = 0;
        for (int i = 0; i < Rings; i++)
        {
            WriteRings(peer, backEnd);
            received += Poll(backEnd, s_shared);
            if (i % 1000 == 999)
                peer.AssertCanaries();
        }
        peer.AssertCanaries();
        ulong sent = backEnd.GetStats().TxPackets;
        TestContext.Current.TestOutputHelper?.WriteLine($"{received} received, {sent} sent, {_restarts} restarts");
        Assert.InRange(received, 10_000ul, ulong.MaxValue);
        Assert.InRange(sent, 10_000ul, ulong.MaxValue);
        Assert.InRange(_restarts, 1000, Rings);
        peer.Dispose();
        AssertAlive(backEnd);
    }

    /// <summary>Another thread changes what the burst is looking at.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void BackEnd_RingsChangedInMidBurst_WriteOnlyWhatIsShared(bool packed)
    {
        Port backEnd = StartBackEnd(RxOffloads.Scatter);
        using VhostPeer peer = VhostPeer.ConnectTo("@" + Name, packed);
        peer.Handshake(s_features | (packed ? s_packed : 0));
        bool stop = false;
        var scribbler = new Thread(() =>
        {
            var random = new Random(7);
            while (!Volatile.Read(ref stop))
                peer.Rings[random.Next(2)].Scribble(random);
        });
        scribbler.Start();
        for (int i = 0; i < 20_000; i++)
        {
            WriteRings(peer, backEnd);
            Poll(backEnd);
        }
        Volatile.Write(ref stop, true);
        scribbler.Join();
        peer.AssertCanaries();
        Assert.InRange(_restarts, 100, int.MaxValue);
        peer.Dispose();
        AssertAlive(backEnd);
    }

    private void WriteRings(VhostPeer peer, Port backEnd)
    {
        for (int i = 0; i < 2; i++)
        {
            VhostPeerRing ring = peer.Rings[i];
            ring.Reclaim();
            // One that was spoilt may be full for ever.
            _fullSince[i] = ring.Room < VhostPeerRing.Size / 2 ? _fullSince[i] + 1 : 0;
            if (FaultOf(backEnd, i) != VhostFault.None || _fullSince[i] > VhostPeerRing.Size)
            {
                _restarts++;
                peer.Restart(i);
            }
            if (ring.Room >= VhostPeerRing.Size / 2)
                Write(peer, ring);
        }
    }

    // Mostly buffers that are right, and now and then one thing wrong.
    private void Write(VhostPeer peer, VhostPeerRing ring)
    {
        Span<VirtioPart> parts = stackalloc VirtioPart[8];
        bool sends = ring == peer.Rings[1];
        for (int n = sends ? Random.Next(1, 9) : Random.Next(1, 4); n > 0; n--)
        {
            int count = Random.Next(3) == 0 ? Random.Next(1, 9) : 1;
            for (int i = 0; i < count; i++)
            {
                int length = Random.Next(20) == 0 ? Random.Next(70_000) : Random.Next(2000);
                int at = Random.Next(VhostPeer.BuffersBytes - length + (Random.Next(500) == 0 ? 70_000 : 0));
                parts[i] = new VirtioPart(VhostPeer.BuffersAt + (ulong)at, (uint)length);
                if (sends && i == 0 && at + 12 <= VhostPeer.BuffersBytes)
                    WriteHeader(peer.Buffers.Slice(at, 12));
            }
            if (!ring.TryAdd(parts[..count], indirect: count > 1 && Random.Next(2) == 0 || Random.Next(20) == 0))
                break;
        }
        if (Random.Next(16) == 0)
            ring.Spoil(Random);
        ring.Publish();
    }

    private void WriteHeader(Span<byte> header)
    {
        header.Clear();
        if (Random.Next(8) == 0)
            for (int i = 0; i < header.Length; i++)
                header[i] = (byte)Random.Next(65);
    }

    private bool Send(VhostPeer peer, VhostMessage message)
    {
        byte[] bytes = message.Bytes(Random.Next(4) == 0 ? VhostUser.Version | VhostUser.NeedReply
            : VhostUser.Version);
        SafeFileHandle[] files = message.Files;
        if (Random.Next(20) == 0)
            Mutate(Random.Next(3) == 0 || bytes.Length == 12 ? bytes : bytes.AsSpan(12), Random);
        if (Random.Next(60) == 0)
            files = [peer.File, .. files, .. files];
        if (Random.Next(60) == 0)
            files = files.Length == 0 ? [] : files[1..];
        if (Random.Next(200) == 0)
            bytes = bytes[..Random.Next(1, bytes.Length)];
        return peer.SendBytes(bytes, files);
    }

    private static VhostFault FaultOf(Port backEnd, int ring) => (ring == 0 ? ((VhostTxQueue)backEnd.TxQueues[0]).Gate
        : ((VhostRxQueue)backEnd.RxQueues[0]).Gate).Ring?.Fault ?? VhostFault.None;

    private Port StartBackEnd(RxOffloads offloads = RxOffloads.None)
    {
        StartBystanders($"net_vhost8,iface=@{Name}-b", $"net_virtio_user9,path=@{Name}-b");
        Port backEnd = Rig.Ports.Attach($"net_vhost0,iface=@{Name}");
        backEnd.Start(new PortConfig { RxOffloads = offloads }, Rig.Pool, 64);
        return backEnd;
    }

    private void AssertAlive(Port backEnd)
    {
        AssertBystanders();
        foreach (ulong layout in (ulong[])[0, s_packed])
        {
            using VhostPeer peer = VhostPeer.ConnectTo("@" + Name, layout != 0);
            peer.Handshake(s_features | layout);
            Assert.True(backEnd.GetLink().Up);
            peer.Buffers.Clear();
            foreach (VhostPeerRing ring in peer.Rings)
            {
                Assert.True(ring.TryAdd([new VirtioPart(VhostPeer.BuffersAt, 2048)], indirect: false));
                ring.Publish();
            }
            Assert.Equal(1ul, Poll(backEnd, s_shared));
            peer.Rings[0].Reclaim();
            Assert.Equal(VhostPeerRing.Size, peer.Rings[0].Room);
            peer.AssertCanaries();
        }
    }
}
