using System.Buffers;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>Clients and servers that lie to net_memif.</summary>
public sealed unsafe class MemifFuzzTests : FuzzBase
{
    private static readonly SearchValues<byte> s_shared = SearchValues.Create([Filling]);

    [Fact]
    public void Server_MutatedMessages_CostOnlyTheirConnection()
    {
        Port server = StartServer();
        int sent = 0, connections = 0;
        while (sent < Messages)
        {
            using MemifPeer peer = MemifPeer.ConnectTo(Name);
            Assert.NotNull(peer.Receive());     // else the server's backlog is full before long
            connections++;
            peer.MakeMemory();
            peer.WriteRings();
            // The handshake, with messages changed, swapped, left out and repeated.
            MemifMessage[] script =
            [
                MemifPeer.Init(), MemifPeer.AddRegion(), MemifPeer.AddRing(true, MemifPeer.ToServerAt),
                MemifPeer.AddRing(false, MemifPeer.ToClientAt), new() { Type = MemifMessageType.Connect },
                MemifPeer.AddRegion(index: 1), new() { Type = MemifMessageType.Disconnect },
            ];
            for (int i = 0; i < 16 && sent < Messages; i++)
            {
                int right = Math.Min(i, script.Length - 1);
                MemifMessage message = script[Random.Next(8) == 0 ? Random.Next(script.Length) : right];
                sent++;
                if (!Send(peer, Random.Next(3) == 0 ? Mutate(message) : message))
                    break;
            }
        }
        Assert.InRange(connections, 1000, Messages);
        AssertAlive(server);
    }

    [Fact]
    public void Client_MutatedMessages_CostOnlyTheirConnection()
    {
        StartBystanders();
        using UnixSocket listener = UnixSocket.Listen("@" + Name, Socket.SOCK_SEQPACKET);
        // Taken down and up for each connection, so that it asks at once.
        Port client = Rig.Ports.Attach($"net_memif0,socket={Name},rsize=2,bsize=64");
        client.Start(new PortConfig(), Rig.Pool);
        for (int sent = 0; sent < Messages;)
        {
            using MemifPeer peer = Accept(listener, client);
            MemifMessage[] script =
            [
                MemifPeer.Hello(), .. Enumerable.Repeat(new MemifMessage { Type = MemifMessageType.Ack }, 5),
                new() { Type = MemifMessageType.Connected },
            ];
            bool isAlive = true;
            for (int i = 0; i < 40 && isAlive; i++, sent++)
            {
                MemifMessage message = script[Random.Next(10) == 0 ? Random.Next(script.Length)
                    : Math.Min(i, script.Length - 1)];
                isAlive = peer.Send(Random.Next(12) == 0 ? Mutate(message) : message);
                Poll(client);
            }
        }
        using MemifPeer good = Accept(listener, client);
        foreach (MemifMessage message in (MemifMessage[])[MemifPeer.Hello(), .. Enumerable.Repeat(
            new MemifMessage { Type = MemifMessageType.Ack }, 4), new() { Type = MemifMessageType.Connected }])
        {
            Assert.True(good.Send(message));
            if (message.Type != MemifMessageType.Connected)
                Assert.NotNull(good.Receive());
        }
        Assert.True(SpinWait.SpinUntil(() => client.GetLink().Up, TimeSpan.FromSeconds(60)));
        AssertBystanders();
    }

    [Theory]
    [InlineData(RxOffloads.None)]
    [InlineData(RxOffloads.Scatter)]
    public void Server_MutatedRings_ReadAndWriteOnlyWhatIsShared(RxOffloads offloads)
    {
        Port server = StartServer(offloads);
        MemifPeer? peer = null;
        ulong received = 0;
        for (int i = 0; i < Rings; i++)
        {
            if (peer == null || !server.GetLink().Up)
            {
                peer?.Dispose();
                peer = MemifPeer.Connected(Name);
                new Span<byte>(peer.Memory + MemifPeer.BuffersAt, (int)(MemifPeer.DefaultBytes - MemifPeer.BuffersAt))
                    .Fill(Filling);
            }
            Scribble(peer);
            received += Poll(server, s_shared);
        }
        peer!.Dispose();
        Assert.InRange(received, 1000ul, ulong.MaxValue);
        AssertAlive(server);
    }

    // Mostly rings that are right, with one thing wrong; now and then anything at all.
    private void Scribble(MemifPeer peer)
    {
        MemifRingHeader* ring = Random.Next(3) == 0 ? peer.ToClient : peer.ToServer;
        for (int n = Random.Next(1, 9); n > 0; n--)
        {
            MemifDesc* desc = MemifPeer.Descs(ring) + Random.Next(MemifPeer.Size);
            *desc = new MemifDesc
            {
                Offset = (uint)Random.Next((int)MemifPeer.BuffersAt, (int)MemifPeer.DefaultBytes - 2048),
                Length = (uint)Random.Next(2049),
                Flags = (ushort)(Random.Next(6) == 0 ? 1 : 0),
            };
            if (Random.Next(50) == 0)
                ((byte*)desc)[Random.Next(12)] = (byte)Random.Next(256);
            // The rings are shared too, and may be read; but what is in them could be anything.
            if (desc->Offset < MemifPeer.BuffersAt)
                desc->Offset += MemifPeer.BuffersAt;
        }
        ring->Head = Random.Next(200) == 0 ? (ushort)Random.Next(65536)
            : (ushort)(ring->Tail + Random.Next(MemifPeer.Size + 1));
        if (Random.Next(100) == 0)
            ring->Tail = (ushort)Random.Next(65536);
        ring->Flags = (ushort)Random.Next(2);
    }

    private bool Send(MemifPeer peer, MemifMessage message)
    {
        SafeFileHandle[] files = message.Type switch
        {
            MemifMessageType.AddRegion => [peer.Region!],
            MemifMessageType.AddRing => [peer.Signal],
            _ => [],
        };
        if (Random.Next(40) == 0)
            files = [peer.Signal, peer.Region!, peer.Signal];
        if (Random.Next(200) == 0)
            return peer.SendBytes(new byte[Random.Next(1, 300)], files);
        return peer.Send(message, files);
    }

    private MemifMessage Mutate(MemifMessage message)
    {
        Mutate(new Span<byte>(&message, MemifProtocol.MessageBytes), Random);
        return message;
    }

    private static MemifPeer Accept(UnixSocket listener, Port client)
    {
        client.SetLink(false);
        while (listener.Accept() is { } earlier)
            earlier.Dispose();
        client.SetLink(true);
        return MemifPeer.Accept(listener);
    }

    private Port StartServer(RxOffloads offloads = RxOffloads.None)
    {
        StartBystanders();
        Port server = Rig.Ports.Attach($"net_memif0,role=server,socket={Name}");
        server.Start(new PortConfig { RxOffloads = offloads }, Rig.Pool, 64);
        return server;
    }

    private void StartBystanders() => StartBystanders($"net_memif8,role=server,socket={Name}-b",
        $"net_memif9,socket={Name}-b");

    private void AssertAlive(Port server)
    {
        AssertBystanders();
        using MemifPeer peer = MemifPeer.Connected(Name);
        new Span<byte>(peer.Memory + MemifPeer.BuffersAt, 64).Fill(Filling);
        MemifPeer.Descs(peer.ToServer)[0] = new MemifDesc { Offset = MemifPeer.BuffersAt, Length = 64 };
        Volatile.Write(ref peer.ToServer->Head, 1);
        Assert.Equal(1ul, Poll(server, s_shared));
    }
}
