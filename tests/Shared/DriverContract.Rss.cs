using Dataplane.Net;

namespace Dataplane.Tests;

/// <summary>Spreading packets over queues: by the hash that our own Toeplitz says, through the table.</summary>
public abstract unsafe partial class DriverContract
{
    private const int RssFlows = 48;

    [Fact]
    public void Rss_ManyFlows_GoWhereHashAndTableSay()
    {
        using DriverRig rig = Rig();
        if (!StartSpread(rig, out PortConfig config))
            return;
        AssertSpread(rig, Toeplitz.MicrosoftKey, config, leastQueues: 2);
    }

    [Fact]
    public void Rss_KeyChanged_HashFollows()
    {
        using DriverRig rig = Rig();
        if (!StartSpread(rig, out PortConfig config))
            return;
        Port port = rig.Receiver;
        byte[] wrong = new byte[port.Info.RssKeyBytes + 4];
        Assert.Throws<ConfigException>(() => port.SetRss(new RssConfig { Key = wrong }));
        if (port.Info.RssKeyBytes == 0)
            return;
        byte[] key = new byte[port.Info.RssKeyBytes];
        new Random(5).NextBytes(key);
        port.SetRss(new RssConfig { Key = key });
        AssertSpread(rig, key, config, leastQueues: 2);
        rig.Stop();
        rig.Restart();
        AssertSpread(rig, key, config, leastQueues: 2);
        port.SetRss(new RssConfig { Fields = RssFields.None });
        AssertSpread(rig, null, config, leastQueues: 1);
    }

    [Fact]
    public void Rss_TableChanged_QueuesFollow()
    {
        using DriverRig rig = Rig();
        if (!StartSpread(rig, out PortConfig config))
            return;
        Port port = rig.Receiver;
        int entries = port.Info.RedirectionEntries;
        Assert.Throws<ConfigException>(() => port.SetRedirection(new ushort[entries + 1]));
        if (entries == 0)
            return;
        ushort last = (ushort)(config.RxQueues - 1);
        Assert.Throws<ConfigException>(() => port.SetRedirection([.. Enumerable.Repeat((ushort)(last + 1), entries)]));
        port.SetRedirection([.. Enumerable.Repeat(last, entries)]);
        AssertSpread(rig, Toeplitz.MicrosoftKey, config, leastQueues: 1);
        port.SetRedirection([.. Enumerable.Range(0, entries).Select(i => (ushort)(i / 3 % config.RxQueues))]);
        AssertSpread(rig, Toeplitz.MicrosoftKey, config, leastQueues: 2);
        rig.Stop();
        rig.Restart();
        AssertSpread(rig, Toeplitz.MicrosoftKey, config, leastQueues: 2);
    }

    // False, after a look at the refusal, where the port has no RSS.
    private static bool StartSpread(DriverRig rig, out PortConfig config)
    {
        PortInfo info = rig.Receiver.Info;
        config = new PortConfig
        {
            RxQueues = Math.Min(4, info.MaxRxQueues),
            Rss = info.RssFields == 0 ? null : new RssConfig(),
            RxOffloads = info.RxOffloads & RxOffloads.RssHash,
        };
        rig.Start(new PortConfig(), config);
        if (info.RssFields != 0 && config.RxQueues > 1)
            return true;
        if (info.RssFields == 0)
            Assert.ThrowsAny<DataplaneException>(() => rig.Receiver.SetRss(new RssConfig { Fields = RssFields.Ipv4 }));
        return false;
    }

    private static void AssertSpread(DriverRig rig, ReadOnlySpan<byte> key, PortConfig config, int leastQueues)
    {
        Port port = rig.Receiver;
        Toeplitz? hash = key.IsEmpty ? null : new Toeplitz(key);
        Dictionary<string, TestFrame> frames = Enumerable.Range(0, RssFlows).Select(flow =>
            new TestFrame(flow) { Tcp = flow % 2 == 0, V6 = flow / 2 % 2 == 0, To = port.MacAddress })
            .ToDictionary(frame => Convert.ToHexString(frame.Build()));
        foreach (TestFrame frame in frames.Values)
            rig.Offer(rig.Packet(frame.Build()));
        // What waited on the way while the receiver was stopped comes first.
        List<(int Queue, Mbuf Packet)> arrived = rig.Collect(RssFlows,
            packet => frames.ContainsKey(Convert.ToHexString(DriverRig.BytesOf(packet))));
        Assert.Equal(RssFlows, arrived.Count);
        foreach ((int queue, Mbuf packet) in arrived)
        {
            byte[] bytes = DriverRig.BytesOf(packet);
            TestFrame frame = frames[Convert.ToHexString(bytes)];
            uint expected = hash == null ? 0 : HashOf(hash, bytes, frame, port.Info.RssFields);
            int place = hash == null ? 0 : port.Redirection[(int)(expected % (uint)port.Redirection.Length)];
            Assert.True(place == queue, $"{frame} with hash {expected:x8} came by queue {queue}, not {place}");
            if (hash != null && (config.RxOffloads & RxOffloads.RssHash) != 0)
                Assert.Equal((expected, MbufFlags.RxRssHash),
                    (packet.RssHash, packet.Flags & MbufFlags.RxRssHash));
            packet.Free();
        }
        Assert.InRange(arrived.Select(a => a.Queue).Distinct().Count(), leastQueues, config.RxQueues);
    }

    // The most the port claims of this kind of packet; 0, which is entry 0, where it hashes nothing of it.
    private static uint HashOf(Toeplitz hash, ReadOnlySpan<byte> bytes, TestFrame frame, RssFields fields)
    {
        RssFields withPorts = (frame.V6, frame.Tcp) switch
        {
            (false, true) => RssFields.Ipv4Tcp,
            (false, false) => RssFields.Ipv4Udp,
            (true, true) => RssFields.Ipv6Tcp,
            (true, false) => RssFields.Ipv6Udp,
        };
        RssFields plain = frame.V6 ? RssFields.Ipv6 : RssFields.Ipv4;
        ReadOnlySpan<byte> addresses = bytes.Slice(frame.L2Bytes + (frame.V6 ? 8 : 12), frame.V6 ? 32 : 8);
        // The ports follow the addresses in a header without options.
        if ((fields & withPorts) != 0)
            return hash.Hash(bytes.Slice(frame.L2Bytes + (frame.V6 ? 8 : 12), addresses.Length + 4));
        return (fields & plain) != 0 ? hash.Hash(addresses) : 0;
    }
}
