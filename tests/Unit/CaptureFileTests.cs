using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>What a capture writes, where it has no room.</summary>
public sealed class CaptureFileTests : IDisposable
{
    private readonly PcapFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void FullDisk_RefusesWhateverHasNoRoom()
    {
        using PcapWriter writer = Create("/dev/full");
        void AssertFills(Func<bool> add)
        {
            int added = 0;
            while (add())
                Assert.True(++added < 10_000, "it has room for ever");
            Assert.Equal(Errno.ENOSPC, writer.Error);
        }
        AssertFills(() => writer.AddInterface(new("net_fake0", "a port", MacAddress.Local(1), 1,
            new string('x', 10_000))));
        AssertFills(() => writer.AddPacket(0, 1, 1500, new byte[1500], outbound: true, 0, lost: 3));
        AssertFills(() => writer.AddStatistics(0, new PcapCounts(1, 2, 3, 4, 5, 6)));
        Assert.InRange(writer.Length, 500_000, 512 << 10);
    }

    [Fact]
    public void PacketLongerThanTheBuffer_IsRefused_AndTheFileGoesOn()
    {
        byte[] longest = new byte[PcapWire.MaxCaptureBytes];
        Random.Shared.NextBytes(longest);
        using (PcapWriter writer = Create(_folder["long"]))
        {
            Assert.True(writer.AddInterface(new("net_fake0", "", MacAddress.Local(1), 0, "")));
            for (int i = 0; i < 5; i++)
            {
                foreach (int length in (int[])[512 << 10, 600_000, 1 << 20])
                {
                    Assert.False(writer.AddPacket(0, 1, uint.MaxValue, new byte[length], outbound: false, 0, 0));
                    Assert.Equal(Errno.EMSGSIZE, writer.Error);
                }
                Assert.True(writer.AddPacket(0, 1, (uint)longest.Length, longest, outbound: false, 0, 0));
            }
            Assert.True(writer.Flush());
            Assert.Equal(writer.Length, new FileInfo(_folder["long"]).Length);
        }
        byte[] file = File.ReadAllBytes(_folder["long"]);
        int packets = 0;
        for (int at = 0; at < file.Length; at += BitConverter.ToInt32(file, at + 4))
            if (BitConverter.ToUInt32(file, at) == PcapWire.EnhancedPacket)
            {
                Assert.True(file.AsSpan(at + PcapWire.EnhancedHeaderBytes, longest.Length).SequenceEqual(longest));
                packets++;
            }
        Assert.Equal(5, packets);
    }

    private static PcapWriter Create(string path) =>
        PcapWriter.CreateSection(path, new PcapSection("machine", "system", "test"), PcapWire.MaxCaptureBytes);
}
