namespace Dataplane.Pmd;

/// <content>LACP: what polling threads set aside goes to the machines, and what those want to say is sent.</content>
internal sealed partial class BondingPort
{
    private const int FramesPerMember = 64;
    private const ushort SystemPriority = 0xffff, PortPriority = 0xff;
    private const int FrameRoom = Mbuf.DefaultHeadroom + 128;

    private readonly LacpSelection _selection;
    private readonly List<(LacpMachine, uint)> _ports = [];
    private readonly List<OwnFrame> _outgoing = [];
    private Mempool? _frames;

    private void PrepareLacp()
    {
        LacpState state = LacpState.Activity | LacpState.Aggregation
            | (Options.FastRate ? LacpState.ShortTimeout : LacpState.None);
        foreach (Member member in _members)
            member.Lacp = new LacpLink(Eal.Memory, $"{Name}_{member.Index}", new LacpParty(SystemPriority,
                Info.MacAddress, 0, PortPriority, (ushort)(member.Index + 1), state), Options.AggregateWaitMs);
        int life = 0;
        while (Mempool.Lookup(Eal.Memory, $"{Name}_own{life}") != null)
            life++;
        _frames = Mempool.CreateMbufPool(Eal.Memory, $"{Name}_own{life}", FramesPerMember * _members.Count,
            cacheSize: 0, dataRoomBytes: FrameRoom, numaNode: Options.NumaNode);
    }

    private void RunLacp(long now)
    {
        foreach (RxQueue queue in RxQueues)
            ((BondingRxQueue)queue).PollForLacp();
        _ports.Clear();
        foreach (Member member in _members)
        {
            LacpLink lacp = member.Lacp!;
            LacpMachine machine = lacp.Machine;
            machine.SetLink(member.Link.Up && !member.HasBounced && _linkWanted, KeyOf(member.Link), now);
            if (!member.IsOut)
                lacp.Process(now, member.OwnMac, answer => lacp.MarkersAnswered += Enclose(member, answer) ? 1ul : 0);
            machine.Advance(now);
            _ports.Add((machine, member.Link.SpeedMbps));
        }
        _selection.Apply(_ports);
        bool canSpeak = TxQueues.Count > 0 && ((BondingTxQueue)TxQueues[0]).CanOffer;
        foreach (Member member in _members)
        {
            LacpMachine machine = member.Lacp!.Machine;
            machine.Advance(now);
            if (!canSpeak || !machine.WantsToSend(now))
                continue;
            var bytes = new byte[LacpPdu.FrameBytes];
            machine.Pdu.Write(bytes, member.OwnMac);
            if (!Enclose(member, bytes))
                continue;
            machine.Sent(now);
            member.Lacp.PdusSent++;
        }
        if (_outgoing.Count == 0 || !canSpeak)
            return;
        ((BondingTxQueue)TxQueues[0]).Offer([.. _outgoing]);
        _outgoing.Clear();
    }

    private void DropOutgoing()
    {
        foreach (OwnFrame frame in _outgoing)
            frame.Packet.Free();
        _outgoing.Clear();
    }

    private bool Enclose(Member member, byte[] bytes)
    {
        if (!_frames!.TryAlloc(out Mbuf frame))
            return false;
        if (frame.TryAppend(bytes.Length, out Span<byte> room))
            bytes.CopyTo(room);
        _outgoing.Add(new OwnFrame(member, frame));
        return true;
    }

    // Links of one speed and duplex may be aggregated: the operational key says both.
    private static ushort KeyOf(LinkStatus link) =>
        (ushort)(Math.Min(link.SpeedMbps / 100 + 1, 0x7fff) << 1 | (link.FullDuplex ? 1u : 0));
}
