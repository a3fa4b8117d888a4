using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>What a client may not say, and the words it is refused with.</summary>
public sealed unsafe partial class MemifHostileTests
{
    private static readonly (string Name, Func<MemifPeer, string?> Take)[] s_badSteps =
        [
            ("version", peer => Refused(peer, MemifPeer.Init() with { Version = 0x0100 })),
            ("mode", peer => Refused(peer, MemifPeer.Init() with { Mode = 1 })),
            ("id", peer => Refused(peer, MemifPeer.Init(id: 5))),
            ("region before init", peer => Refused(peer, MemifPeer.AddRegion(), peer.Region!)),
            ("unknown type", peer => After(peer, new MemifMessage { Type = (MemifMessageType)99 })),
            ("init twice", peer => After(peer, MemifPeer.Init())),
            ("hello", peer => After(peer, new MemifMessage { Type = MemifMessageType.Hello })),
            ("ack", peer => After(peer, new MemifMessage { Type = MemifMessageType.Ack })),
            ("region without file", peer => After(peer, MemifPeer.AddRegion())),
            ("region with two files", peer => After(peer, MemifPeer.AddRegion(), peer.Region!, peer.Region!)),
            ("region out of order", peer => After(peer, MemifPeer.AddRegion(index: 1), peer.Region!)),
            ("region empty", peer => After(peer, MemifPeer.AddRegion(0), peer.Region!)),
            ("region beyond its file", peer => After(peer, MemifPeer.AddRegion(MemifPeer.DefaultBytes + 1),
                peer.Region!)),
            ("region of the largest size", peer => After(peer, MemifPeer.AddRegion(ulong.MaxValue), peer.Region!)),
            ("region that is an eventfd", peer => After(peer, MemifPeer.AddRegion(), peer.Signal)),
            ("region that is a file", peer =>
            {
                using SafeFileHandle file = File.OpenHandle(typeof(MemifHostileTests).Assembly.Location);
                return After(peer, MemifPeer.AddRegion(4096), file);
            }),
            ("ring before region", peer => After(peer, MemifPeer.AddRing(true, 0), peer.Signal)),
            ("ring without file", peer => Ring(peer, MemifPeer.AddRing(true, 0), withFile: false)),
            ("ring index", peer => Ring(peer, MemifPeer.AddRing(true, 0) with { RingIndex = 1 })),
            ("ring index of the other way", peer => Ring(peer, MemifPeer.AddRing(false, 0) with { RingIndex = 1 })),
            ("ring region", peer => Ring(peer, MemifPeer.AddRing(true, 0) with { RingRegion = 1 })),
            ("ring size", peer => Ring(peer, MemifPeer.AddRing(true, 0, log2: 15))),
            ("ring size that shifts out", peer => Ring(peer, MemifPeer.AddRing(true, 0, log2: 64))),
            ("ring offset unaligned", peer => Ring(peer, MemifPeer.AddRing(true, 2))),
            ("ring beyond its region", peer => Ring(peer, MemifPeer.AddRing(true,
                (uint)MemifPeer.DefaultBytes - 1148))),
            ("ring at the last offset", peer => Ring(peer, MemifPeer.AddRing(true, uint.MaxValue - 3))),
            ("ring with private header", peer => Ring(peer, MemifPeer.AddRing(true, 0) with
            {
                PrivateHeaderSize = 8,
            })),
            ("ring twice", peer => Ring(peer, MemifPeer.AddRing(true, 0)) ?? (peer.Send(MemifPeer.AddRing(true, 0),
                peer.Signal) ? peer.ReceiveDisconnect() : null)),
            ("cookie", peer =>
            {
                peer.ToServer->Cookie ^= 1;
                string? refusal = Ring(peer, MemifPeer.AddRing(true, 0));
                peer.Send(new MemifMessage { Type = MemifMessageType.Connect });
                return refusal ?? peer.ReceiveDisconnect();
            }),
            ("message too short", peer => peer.Receive() != null && peer.SendBytes(new byte[127])
                ? peer.ReceiveDisconnect() : null),
            ("message too long", peer => peer.Receive() != null && peer.SendBytes(new byte[129])
                ? peer.ReceiveDisconnect() : null),
        ];

    private static string? Refused(MemifPeer peer, MemifMessage message, params SafeFileHandle[] files) =>
        peer.Receive()?.Type == MemifMessageType.Hello && peer.Send(message, files) ? peer.ReceiveDisconnect() : null;

    private static string? After(MemifPeer peer, MemifMessage message, params SafeFileHandle[] files) =>
        peer.Receive()?.Type == MemifMessageType.Hello && peer.Ask(MemifPeer.Init()) && peer.Send(message, files)
            ? peer.ReceiveDisconnect() : null;

    // Null where the ring was taken.
    private static string? Ring(MemifPeer peer, MemifMessage ring, bool withFile = true)
    {
        Assert.Equal(MemifMessageType.Hello, peer.Receive()?.Type);
        Assert.True(peer.Ask(MemifPeer.Init()));
        Assert.True(peer.Ask(MemifPeer.AddRegion(), peer.Region!));
        Assert.True(withFile ? peer.Send(ring, peer.Signal) : peer.Send(ring));
        MemifMessage answer = peer.Receive()!.Value;
        return answer.Type == MemifMessageType.Ack ? null
            : MemifChannel.GetText(answer.Reason, MemifProtocol.ReasonBytes);
    }
}
