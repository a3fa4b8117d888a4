using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>VLAN tags in software, for devices that do not take them out. Data path.</summary>
internal static unsafe class VlanTag
{
    /// <summary>Takes the first tag of a packet out into the mbuf, if it has one (802.1Q).</summary>
    internal static void Strip(MbufHeader* mbuf)
    {
        byte* frame = mbuf->BufAddr + mbuf->DataOff;
        if (mbuf->DataLen <= IfPacket.ETH_HLEN + IfPacket.VLAN_HLEN
            || frame[12] != IfPacket.ETH_P_8021Q >> 8 || frame[13] != (IfPacket.ETH_P_8021Q & 0xff))
            return;
        mbuf->VlanTci = (ushort)(frame[14] << 8 | frame[15]);
        mbuf->OlFlags |= MbufFlags.RxVlan | MbufFlags.RxVlanStripped;
        *(uint*)(frame + 12) = *(uint*)(frame + 8);
        *(ulong*)(frame + 4) = *(ulong*)frame;
        mbuf->DataOff += IfPacket.VLAN_HLEN;
        mbuf->DataLen -= IfPacket.VLAN_HLEN;
        mbuf->PktLen -= IfPacket.VLAN_HLEN;
        if ((mbuf->OlFlags & MbufFlags.TxL4ChecksumMask) != 0)
            mbuf->TxOffload -= IfPacket.VLAN_HLEN;   // what is to be finished: l2_len is in its lowest bits
    }
}
