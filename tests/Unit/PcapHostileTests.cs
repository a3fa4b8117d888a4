using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Ten thousand spoilt files: a clear refusal, or all that is good in them and a count of the rest.</summary>
public sealed unsafe class PcapHostileTests : IDisposable
{
    private const int Files = 10_000;

    private static readonly uint[] s_evil =
    [
        0, 1, 3, 4, 11, 12, 16, 28, 32, 0xffff, 0x1_0000, 262_144, 262_145, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc,
        uint.MaxValue,
    ];

    private readonly PcapFolder _folder = new();
    private readonly PcapRig _rig = new();

    public void Dispose()
    {
        _rig.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void Files_Mutated_AreRefusedOrReadAndCounted()
    {
        byte[][] seeds = [.. Seeds()];
        var random = new Random(20260731);
        int refused = 0, spoilt = 0, packets = 0;
        for (int i = 0; i < Files; i++)
        {
            byte[] file = Mutate(seeds[i % seeds.Length], random);
            string path = _folder["m"];
            File.WriteAllBytes(path, file);
            (int Good, int Bad)? expected = ReadAll(path, file);
            if (expected is not var (good, bad))
            {
                Assert.ThrowsAny<ConfigException>(() => _rig.Start($"rx_pcap={path}"));
                refused++;
                continue;
            }
            List<TestPacket> read = _rig.Read($"rx_pcap={path}", out PortStats stats);
            Assert.Equal((good, (ulong)good, (ulong)bad), (read.Count, stats.RxPackets, stats.RxErrors));
            spoilt += bad != 0 ? 1 : 0;
            packets += good;
        }
        // The mutations reach everything: refusals, files that go bad on the way, and plenty of good packets.
        Assert.InRange(refused, Files / 50, Files * 3 / 4);
        Assert.InRange(spoilt, Files / 50, Files);
        Assert.InRange(packets, Files, int.MaxValue);
    }

    /// <summary>What a port must count; null when the file must be refused.</summary>
    private static (int Good, int Bad)? ReadAll(string path, byte[] file)
    {
        PcapReader reader;
        try
        {
            reader = PcapReader.Open("net_pcap0", path);
        }
        catch (ConfigException e)
        {
            Assert.Contains(path, e.What);
            Assert.Contains("offset", e.Why);
            return null;
        }
        using PcapReader opened = reader;
        PcapRecord record = default;
        int good = 0, bad = 0;
        for (ReadStatus status; (status = reader.Next(ref record)) != ReadStatus.End;)
        {
            // A block has 12 bytes at least, so a file has no more of them than this.
            Assert.InRange(good + bad, 0, file.Length / 12);
            if (status == ReadStatus.Bad)
            {
                Assert.NotEqual(PcapFault.None, reader.Fault);
                Assert.InRange(reader.FaultOffset, 0, file.Length);
                Assert.Equal(ReadStatus.End, reader.Next(ref record));
                bad++;
                break;
            }
            // The bytes are the file's own, where the reader says it is: nothing was read from elsewhere.
            Assert.InRange(reader.Offset, record.Length, file.Length);
            Assert.True(file.AsSpan((int)(reader.Offset - record.Length), (int)record.Length)
                .SequenceEqual(new ReadOnlySpan<byte>(record.Data, (int)record.Length)));
            if (status == ReadStatus.Packet && record.Length >= 14)
                good++;
            else
                bad++;
        }
        return (good, bad);
    }

    private static IEnumerable<byte[]> Seeds()
    {
        var packets = new List<TestPacket>();
        for (int i = 0; i < 12; i++)
            packets.Add(new TestPacket(1_000_000_000ul * (ulong)i, PcapFileTests.Bytes(14 + i * 13, i)));
        foreach (bool swap in new[] { false, true })
        {
            yield return PcapBytes.File(packets, new TestFormat(false, swap, swap));
            yield return PcapBytes.File(packets, new TestFormat(true, swap, swap));
            PcapBytes rich = new PcapBytes(swap).Section().Interface(9, offset: 5).Interface(0x94, link: 113, snap: 60)
                .Block(4, b => b.U32(0)).Block(0xbad, b => b.Raw(new byte[40]));
            foreach (TestPacket packet in packets)
                rich.Enhanced(packet, 1, number: packet.Bytes.Length % 5 == 0 ? 1u : 0u, comment: true)
                    .Simple(packet.Bytes, (uint)packet.Bytes.Length).Block(5, b => b.U32(0).U32(0).U32(0));
            yield return [.. rich.ToArray(), .. PcapBytes.File(packets, new TestFormat(true, !swap))];
        }
    }

    private static byte[] Mutate(byte[] seed, Random random)
    {
        var file = new List<byte>(seed);
        for (int changes = random.Next(1, 4); changes > 0 && file.Count > 4; changes--)
        {
            int at = random.Next(file.Count - 3);
            switch (random.Next(6))
            {
                case 0:
                    file[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                case 2:
                    byte[] evil = BitConverter.GetBytes(s_evil[random.Next(s_evil.Length)]);
                    if (random.Next(2) == 0)
                        Array.Reverse(evil);
                    at &= ~3;
                    for (int i = 0; i < 4; i++)
                        file[at + i] = evil[i];
                    break;
                case 3:
                    file.RemoveRange(at, Math.Min(random.Next(1, 40), file.Count - at));
                    break;
                case 4:
                    file.InsertRange(at, file.GetRange(0, Math.Min(random.Next(1, 64), file.Count)));
                    break;
                default:
                    file.RemoveRange(at, file.Count - at);
                    break;
            }
        }
        return [.. file];
    }
}
