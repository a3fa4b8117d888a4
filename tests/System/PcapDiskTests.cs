namespace Dataplane.Tests;

/// <summary>net_pcap on a disk that runs full.</summary>
public sealed class PcapDiskTests
{
    [Theory]
    [InlineData("pcap")]
    [InlineData("pcapng")]
    public void Disk_RunsFull_CountsErrorsAndLeavesAReadableFile(string format)
    {
        Host.Require("mount", "umount");
        using var folder = new PcapFolder();
        Host.Run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder.Path);
        try
        {
            using var rig = new PcapRig();
            string file = folder["out"];
            using Port port = rig.Start($"tx_pcap={file},format={format}");
            const int Sent = 4000;
            for (int i = 0; i < Sent; i++)
                Assert.Equal(1, port.TxQueues[0].TxBurst([rig.Make(new TestPacket(0, new byte[1000]))]));
            port.Stop();
            PortStats stats = port.GetStats();
            Assert.InRange(stats.TxErrors, 2000ul, (ulong)Sent - 1);
            Assert.Equal((ulong)Sent, stats.TxPackets + stats.TxErrors);
            Assert.Equal((int)stats.TxPackets, rig.Read($"rx_pcap={file}", out PortStats read).Count);
            Assert.Equal(0ul, read.RxErrors);
        }
        finally
        {
            Host.Run("umount", folder.Path);
        }
    }
}
