using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>Back ends that lie to net_virtio_user.</summary>
public sealed class VirtioUserFuzzTests : FuzzBase
{
    private static readonly ulong s_offered = VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1,
        VhostUser.ProtocolFeaturesBit, VirtioConfig.VIRTIO_F_RING_PACKED, VirtioRing.VIRTIO_RING_F_INDIRECT_DESC,
        VirtioRing.VIRTIO_RING_F_EVENT_IDX, VirtioNet.VIRTIO_NET_F_MRG_RXBUF, VirtioNet.VIRTIO_NET_F_CSUM,
        VirtioNet.VIRTIO_NET_F_MQ);

    private int _sent, _connections;
    private bool _lies, _stop;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void FrontEnd_MutatedMessages_CostOnlyTheirConnection(bool packed)
    {
        StartBystanders($"net_vhost8,iface=@{Name}-b", $"net_virtio_user9,path=@{Name}-b");
        var backEnd = new Thread(RunBackEnd);
        backEnd.Start();
        Port front = Rig.Ports.Attach($"net_virtio_user0,path=@{Name},packed_vq={(packed ? 1 : 0)}");
        Volatile.Write(ref _lies, true);
        int starts = 0, up = 0;
        while (Volatile.Read(ref _sent) < Messages)
        {
            try
            {
                front.Start(new PortConfig(), Rig.Pool, 64);
                starts++;
                up += front.GetLink().Up ? 1 : 0;
                for (int i = 0; i < 4; i++)
                    Poll(front);
            }
            catch (DataplaneException)
            {
                // It cannot do what it is asked for with such a device, and says so.
            }
            front.Stop();
        }
        Volatile.Write(ref _stop, true);
        backEnd.Join();
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{_sent} messages, {_connections} connections, {starts} starts, {up} with a link");
        Assert.InRange(up, 10, starts);
        Assert.InRange(_connections, 100, int.MaxValue);
        AssertBystanders();
        Port good = Rig.Ports.Attach($"net_vhost1,iface=@{Name}");
        good.Start(new PortConfig(), Rig.Pool, 64);
        front.Start(new PortConfig(), Rig.Pool, 64);
        Assert.True(front.WaitForLink(TimeSpan.FromMinutes(1)).Up && good.WaitForLink(TimeSpan.FromMinutes(1)).Up);
        Poll(front);
        Assert.Equal(1ul, Poll(good));
    }

    /// <summary>Whoever waits for it, that is nobody else's time.</summary>
    [Fact]
    public void FrontEnd_BackEndNeverAnswers_AlarmsOfOthersGoOn()
    {
        Port front = Rig.Ports.Attach($"net_virtio_user0,path=@{Name}");
        front.Start(new PortConfig(), Rig.Pool, 64);
        using UnixSocket listener = UnixSocket.Listen("@" + Name, Socket.SOCK_STREAM);
        UnixSocket? silent = null;
        Assert.True(SpinWait.SpinUntil(() => (silent = listener.Accept()) != null, TimeSpan.FromMinutes(1)));
        using var peer = new VhostPeer(silent!);
        Assert.True(peer.WaitMessage(60_000));
        bool rang = false;
        Rig.Eal.Alarms.Set(TimeSpan.FromMilliseconds(1), () => Volatile.Write(ref rang, true));
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref rang), TimeSpan.FromMinutes(1)));
        while (peer.Channel.TryRead())
            ;   // throws where the front end has given up by now
    }

    private void RunBackEnd()
    {
        var random = new Random(20260201);
        using UnixSocket listener = UnixSocket.Listen("@" + Name, Socket.SOCK_STREAM);
        using SafeFileHandle set = Epoll.Create();
        Epoll.Add(set, listener.Handle, 0);
        Span<epoll_event> one = stackalloc epoll_event[1];
        while (!Volatile.Read(ref _stop))
        {
            Epoll.Wait(set, one, 10);
            if (listener.Accept() is not { } socket)
                continue;
            using var peer = new VhostPeer(socket);
            _connections++;
            try
            {
                while (!Volatile.Read(ref _stop) && TryAnswer(peer, random))
                    ;
            }
            catch (DataplaneException)
            {
                // The front end ended it.
            }
        }
    }

    /// <summary>Waits for a request and answers it, mostly.</summary>
    /// <returns>False to end the connection.</returns>
    private bool TryAnswer(VhostPeer peer, Random random)
    {
        // Nothing asked for so long: it waits for the rest of what we spoilt, and would for seconds.
        if (!peer.WaitMessage(10))
            return !Volatile.Read(ref _lies);
        VhostMessageHeader asked = peer.Channel.Header;
        SafeFileHandle[] files = [];
        byte[]? payload = asked.Request switch
        {
            VhostRequest.GetFeatures => BitConverter.GetBytes(s_offered),
            VhostRequest.GetProtocolFeatures => BitConverter.GetBytes(VhostPort.ProtocolFeatures),
            VhostRequest.GetQueueNum => BitConverter.GetBytes(1ul),
            VhostRequest.GetVringBase => BitConverter.GetBytes(0ul),
            VhostRequest.GetInflightFd => InflightOf(peer, out files),
            _ => (asked.Flags & VhostUser.NeedReply) != 0 ? BitConverter.GetBytes(0ul) : null,
        };
        if (payload == null)
            return true;
        _sent++;
        byte[] bytes = new VhostMessage(asked.Request, payload).Bytes(VhostUser.Version | VhostUser.Reply);
        if (!Volatile.Read(ref _lies) || random.Next(50) != 0)
            return peer.SendBytes(bytes, files);
        Mutate(bytes, random);
        if (random.Next(4) == 0)
            files = random.Next(2) == 0 ? [] : [peer.Signal, .. files];
        if (random.Next(8) == 0)
            bytes = [.. bytes, .. bytes];
        return peer.SendBytes(random.Next(8) == 0 ? bytes.AsSpan(random.Next(bytes.Length)) : bytes, files)
            && random.Next(3) != 0;
    }

    private static byte[] InflightOf(VhostPeer peer, out SafeFileHandle[] files)
    {
        if (peer.File.IsInvalid)
            peer.MakeMemory(packed: false);
        files = [peer.File];
        return VhostMessage.Of(VhostRequest.GetInflightFd, new VhostInflightDescription
            { Bytes = 4096, Queues = 2, QueueSize = 1024 }).Payload;
    }
}
