using Dataplane.Native;
using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Packets the kernel left unfinished.</summary>
public sealed unsafe class VnetOffloadTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(33)]
    public void TryComplete_UdpOfAnyLength_Verifies(int payload)
    {
        Span<byte> frame = Udp(42 + payload);
        ref IPv4Header ip = ref frame.HeaderAt<IPv4Header>(14);
        frame.HeaderAt<UdpHeader>(34).Checksum = Be16.FromRaw(Checksum.PseudoHeader(in ip, 8 + payload));
        virtio_net_hdr vnet = Unfinished(34, 6);
        fixed (byte* bytes = frame)
            Assert.True(VnetOffload.TryComplete(&vnet, bytes, frame.Length));
        Assert.True(Checksum.VerifyUdpTcp(in ip, frame[34..]));
        Assert.NotEqual(0, frame.HeaderAt<UdpHeader>(34).Checksum.Value);
    }

    [Fact]
    public void TryComplete_FieldBeyondTheFrame_IsRefused()
    {
        Span<byte> frame = Udp(42);
        virtio_net_hdr vnet = Unfinished(35, 6), sctp = Unfinished(31, 8);
        fixed (byte* bytes = frame)
        {
            Assert.False(VnetOffload.TryComplete(&vnet, bytes, frame.Length));
            Assert.False(VnetOffload.TryComplete(&sctp, bytes, frame.Length));
        }
    }

    [Theory]
    [InlineData(34, true)]
    [InlineData(34 + 8 + 8 + 14 + 20, false)]
    public void TryMark_ChecksumInATunnel_IsNotMarked(int start, bool marked)
    {
        Span<byte> frame = Udp(200);
        virtio_net_hdr vnet = Unfinished(start, 6);
        MbufHeader mbuf = default;
        fixed (byte* bytes = frame)
            Assert.Equal(marked, VnetOffload.TryMark(&vnet, bytes, &mbuf));
        Assert.Equal(marked, mbuf.OlFlags != MbufFlags.None);
    }

    [Theory]
    [InlineData(IPProtocols.Udp, 0, true)]
    [InlineData(IPProtocols.DestinationOptions, 8, true)]
    [InlineData(IPProtocols.DestinationOptions, 16, false)]
    [InlineData(IPProtocols.IPv6, 40, false)]
    public void IsPlain_Ipv6_OnlyBehindExtensionHeaders(byte next, int extensions, bool plain)
    {
        Span<byte> ip = new byte[128];
        ip[0] = 0x60;
        ip[6] = next;
        ip[40] = IPProtocols.Udp;   // what follows an extension header of 8 bytes
        fixed (byte* bytes = ip)
            Assert.Equal(plain, VnetOffload.IsPlain(bytes, 40 + extensions, v4: false, tcp: false));
    }

    private static byte[] Udp(int bytes) => PacketTemplate.Udp4(MacAddress.Local(1), MacAddress.Local(2),
        new IPv4Address(10, 0, 0, 1), new IPv4Address(10, 0, 0, 2), 1, VxlanHeader.Port, bytes).Frame.ToArray();

    private static virtio_net_hdr Unfinished(int start, int offset) => new()
    {
        flags = VirtioNet.VIRTIO_NET_HDR_F_NEEDS_CSUM,
        csum_start = (ushort)start,
        csum_offset = (ushort)offset,
    };
}
