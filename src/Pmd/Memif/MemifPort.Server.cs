using System.Security.Cryptography;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>What a server does with the messages of its client. Under the gate.</summary>
internal sealed unsafe partial class MemifPort
{
    // A client that does not go on makes room for another after this, milliseconds.
    private const long HandshakeMs = 2000;

    /// <summary>Takes a client's channel, which has said that it wants this port.</summary>
    /// <returns>Why not, or null; then the channel is the port's.</returns>
    internal string? Admit(MemifChannel channel, in MemifMessage init)
    {
        if (!_started || !_linkWanted)
            return "Interface is down";
        if (init.Mode != MemifProtocol.ModeEthernet)
            return "Only ethernet mode supported";
        if (!IsSecret(init))
            return "Incorrect secret";
        if (_link is { } other)
        {
            if (other.IsUp || other.Age < HandshakeMs)
                return "Already connected";
            EndLink("Too slow");
        }
        var link = new MemifLink(channel) { PeerName = NameIn(init) };
        if (!channel.TrySend(new MemifMessage { Type = MemifMessageType.Ack }))
            return "";
        Volatile.Write(ref _link, link);
        return null;
    }

    private static string NameIn(in MemifMessage init)
    {
        fixed (byte* name = init.InitName)
            return MemifChannel.GetText(name, MemifProtocol.NameBytes);
    }

    // Compared to the end whatever differs, so that the time it takes tells nothing.
    private bool IsSecret(in MemifMessage init)
    {
        if (Options.Secret.Length == 0)
            return true;
        Span<byte> own = stackalloc byte[MemifProtocol.SecretBytes];
        own.Clear();
        Options.Secret.CopyTo(own);
        fixed (byte* theirs = init.Secret)
            return CryptographicOperations.FixedTimeEquals(own,
                new ReadOnlySpan<byte>(theirs, MemifProtocol.SecretBytes));
    }

    private string? OnClientMessage(MemifLink link, in MemifMessage message)
    {
        if (link.IsUp)
            return "Unexpected message";
        string? fault = message.Type switch
        {
            MemifMessageType.AddRegion => AddRegion(link, message),
            MemifMessageType.AddRing => AddRing(link, message),
            MemifMessageType.Connect => null,
            _ => "Unexpected message",
        };
        if (fault != null)
            return fault;
        if (message.Type == MemifMessageType.Connect)
            return Connect(link);
        return Sent(link.Channel.TrySend(new MemifMessage { Type = MemifMessageType.Ack }));
    }

    private string? AddRegion(MemifLink link, in MemifMessage message)
    {
        if (link.Channel.Files.Count != 1)
            return "Missing region fd";
        return message.RegionIndex != link.Memory.Count ? "Invalid region index"
            : link.Memory.Add(link.Channel.Files[0], message.RegionSize, Options.Trust);
    }

    private string? AddRing(MemifLink link, in MemifMessage message)
    {
        if (link.Channel.Files.Count != 1 || !Eventfd.TryAdopt(link.Channel.Files[0]))
            return "Missing interrupt fd";
        bool toServer = (message.RingFlags & MemifProtocol.RingFlagClientToServer) != 0;
        MemifRing?[] rings = toServer ? link.ToServer : link.ToClient;
        if (message.RingIndex >= (toServer ? RxQueues.Count : TxQueues.Count) || rings[message.RingIndex] != null)
            return "Invalid ring index";
        if (message.PrivateHeaderSize != 0)
            return "No private headers";
        if (message.Log2RingSize > MemifProtocol.MaxLog2RingSize)
            return "Invalid ring size";
        if (message.RingRegion >= link.Memory.Count)
            return "Invalid ring region";
        MemifRegion region = link.Memory.Table[message.RingRegion];
        if (message.RingOffset % sizeof(uint) != 0
            || message.RingOffset + MemifRing.BytesOf(message.Log2RingSize) > region.Bytes)
            return "Invalid ring offset";
        SafeFileHandle signal = link.Own(link.Channel.Files[0]);
        link.Channel.Files.Clear();
        rings[message.RingIndex] = new MemifRing(link.Memory, region.Address + message.RingOffset,
            message.Log2RingSize, signal);
        return null;
    }

    private string? Connect(MemifLink link)
    {
        foreach (MemifRing?[] rings in (MemifRing?[][])[link.ToServer, link.ToClient])
            foreach (MemifRing? ring in rings)
            {
                if (ring == null)
                    continue;
                if (ring.Header->Cookie != MemifProtocol.Cookie)
                    return "Wrong ring cookie";
                ring.Header->Tail = 0;
            }
        // Queues begin before the client hears of it: it has not filled a ring yet, so they find nothing.
        RaiseLink(link, link.ToServer, link.ToClient);
        var connected = new MemifMessage { Type = MemifMessageType.Connected };
        MemifChannel.PutText(connected.InterfaceName, MemifProtocol.NameBytes, Name);
        return Sent(link.Channel.TrySend(connected));
    }
}
