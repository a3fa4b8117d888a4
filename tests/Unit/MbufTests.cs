using System.Runtime.CompilerServices;

namespace Dataplane.Tests;

public sealed unsafe class MbufTests : IDisposable
{
    private readonly Eal _eal = Eal.Initialize(new EalOptions());
    private readonly Mempool _pool;

    public MbufTests() => _pool = Mempool.CreateMbufPool(_eal.Memory, "p", 64, privateBytes: 16, dataRoomBytes: 256);

    public void Dispose()
    {
        Assert.Equal(64, _pool.AvailableCount);
        _pool.Audit();
        foreach (nint item in _pool.Objects())
            Assert.True(new Mbuf((MbufHeader*)item).Check(isPacket: false, out string? why), why);
        _pool.Dispose();
        _eal.Dispose();
    }

    [Fact]
    public void Alloc_AfterAnyUse_IsReset()
    {
        for (int round = 0; round < 200; round++)
        {
            Mbuf m = _pool.Alloc();
            Assert.Equal((128, 256 - 128, 0, 0), (m.Headroom, m.Tailroom, m.DataLength, m.PacketLength));
            Assert.Equal((1, 1, true, MbufHeader.NoPort), (m.SegmentCount, m.ReferenceCount, m.Next.IsNull, m.Port));
            Assert.Equal((MbufFlags.None, 0u, 0ul), (m.Flags, m.PacketType, m.Header->TxOffload));
            Assert.Equal((0, 0), (m.VlanTci, m.VlanTciOuter));
            Assert.Equal((16, 256), (m.PrivateData.Length, m.BufferLength));
            Assert.True(m.IsDirect && m.IsContiguous);
            m.Port = 3;
            m.Flags = MbufFlags.TxTcpSegment;
            m.PacketType = PacketType.L2Ether;
            m.VlanTci = m.VlanTciOuter = 7;
            m.UserData = ulong.MaxValue;
            m.SetTxOffload(14, 20, 20, 1460);
            Assert.True(m.Append(10) != null && m.Prepend(20) != null);
            m.Free();
        }
    }

    [Fact]
    public void TryAllocBulk_Template_WritesWhatItSays()
    {
        var template = new MbufTemplate(dataOffset: 64, port: 9, length: 60) { PacketType = PacketType.L2EtherArp };
        var burst = new Mbuf[5];
        Assert.True(_pool.TryAllocBulk(burst, template));
        foreach (Mbuf m in burst)
        {
            Assert.Equal((64, 60, 60, 9), (m.Headroom, m.DataLength, m.PacketLength, m.Port));
            Assert.Equal(PacketType.L2EtherArp, m.PacketType);
            Assert.True(m.Check(isPacket: true, out string? why), why);
        }
        _pool.PutRawBulk(burst);
    }

    [Fact]
    public void TemplateAndHeader_Fields_LieAtTheSamePlaces()
    {
        var h = default(MbufHeader);
        var t = default(MbufTemplate);
        byte* header = (byte*)&h.RearmData, template = (byte*)&t;
        Assert.Equal((nint)((byte*)&h.Port - header), (byte*)&t.Port - template);
        Assert.Equal((nint)((byte*)&h.OlFlags - header), (byte*)&t.OlFlags - template);
        Assert.Equal((nint)((byte*)&h.PacketType - header), (byte*)&t.PacketType - template);
        Assert.Equal((nint)((byte*)&h.PktLen - header), (byte*)&t.PktLen - template);
        Assert.Equal((nint)((byte*)&h.DataLen - header), (byte*)&t.DataLen - template);
        Assert.Equal((nint)((byte*)&h.RssHash - header), (byte*)&t.RssHash - template);
        Assert.Equal(32, sizeof(MbufTemplate));
        Assert.Equal(128, sizeof(MbufHeader));
    }

    [Fact]
    public void EdgeOperations_BeyondTheRoom_AreRefusedAndChangeNothing()
    {
        Mbuf m = _pool.Alloc();
        Assert.True(m.Append(129) == null && m.Append(-1) == null && m.Prepend(129) == null && m.Prepend(-1) == null);
        Assert.True(m.TryAppend(128, out Span<byte> tail));
        Assert.True(m.TryPrepend(128, out Span<byte> head));
        Assert.Equal((128, 128, 256, 256), (tail.Length, head.Length, m.DataLength, m.PacketLength));
        Assert.False(m.Adj(257) || m.Trim(257) || m.Adj(-1) || m.Trim(-1));
        Assert.True(m.Adj(6) && m.Trim(50));
        Assert.Equal((6, 50, 200, 200), (m.Headroom, m.Tailroom, m.DataLength, m.PacketLength));
        Assert.False(m.TrySetLength(251) || m.TrySetLength(-1));
        Assert.True(m.TrySetLength(250));
        m.Reset();
        Assert.Equal((128, 0, 1), (m.Headroom, m.PacketLength, m.ReferenceCount));
        m.Free();
    }

    [Fact]
    public void TryChain_Beyond65535Segments_IsRefused()
    {
        using Mempool many = Mempool.CreateMbufPool(_eal.Memory, "many", 65_536, dataRoomBytes: 0);
        Mbuf head = many.Alloc();
        MbufHeader* last = head.Header;
        for (int i = 1; i < 65_535; i++)    // by hand: TryChain walks to the end each time
        {
            last->Next = many.Alloc().Header;
            last = last->Next;
        }
        head.Header->NbSegs = 65_535;
        Mbuf more = many.Alloc();
        Assert.False(head.TryChain(more));
        Assert.True(head.Check(isPacket: true, out string? why), why);
        more.Free();
        head.Free();
        Assert.Equal(65_536, many.AvailableCount);
        many.Audit();
    }

    [Fact]
    public void FreeBulk_MixOfPoolsChainsNullsAndShared_EachGoesHome()
    {
        using var lcore = new MempoolAsLcore(2);
        using Mempool other = Mempool.CreateMbufPool(_eal.Memory, "other", 64, dataRoomBytes: 300);
        var random = new Random(1);
        for (int round = 0; round < 300; round++)
        {
            var burst = new Mbuf[random.Next(0, 20)];
            for (int i = 0; i < burst.Length; i++)
                burst[i] = Make(random, random.Next(4) == 0 ? other : _pool);
            var second = new List<Mbuf>();
            foreach (Mbuf m in burst.Where(m => !m.IsNull && random.Next(5) == 0))
            {
                m.AddPacketReferences(1);
                second.Add(m);
            }
            Mbuf.FreeBulk(burst);
            second.ForEach(m => m.Free());
            Assert.Equal((64, 64), (_pool.AvailableCount, other.AvailableCount));
        }
        other.Audit();
    }

    private static Mbuf Make(Random random, Mempool pool)
    {
        if (random.Next(6) == 0)
            return default;
        Mbuf m = pool.Alloc();
        for (int more = random.Next(8) == 0 ? 3 : 0; more > 0; more--)
            Assert.True(m.TryChain(pool.Alloc()));
        return m;
    }

    [Fact]
    public void Free_ManyThreadsShareOnePacket_LastOnePutsIt()
    {
        for (int round = 0; round < 200; round++)
        {
            Mbuf m = _pool.Alloc();
            Assert.True(m.TryChain(_pool.Alloc()));
            m.AddPacketReferences(3);
            Parallel.For(0, 4, _ => m.Free());
            Assert.Equal(64, _pool.AvailableCount);
        }
    }

    [Fact]
    public void AllocFree_OneMillion_AllocatesNothingOnTheManagedHeap()
    {
        using var lcore = new MempoolAsLcore(5);
        var burst = new Mbuf[32];
        AllocFree(burst, 10);
        long before = GC.GetAllocatedBytesForCurrentThread();
        AllocFree(burst, 1_000_000 / 32);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void AllocFree(Mbuf[] burst, int rounds)
    {
        for (int i = 0; i < rounds; i++)
        {
            _ = _pool.TryAllocBulk(burst);
            _ = burst[0].TryChain(burst[1]);
            _ = burst[2].TryClone(_pool, out Mbuf clone);
            burst[1] = clone;
            Mbuf.FreeBulk(burst);
            _ = _pool.TryAlloc(out Mbuf single);
            _ = single.Append(10);
            single.Free();
        }
    }

    [Fact]
    public void Check_EachDamage_IsNamed()
    {
        Mbuf m = _pool.Alloc();
        MbufHeader good = *m.Header;
        Expect("null", () => m.Header->Pool = null);
        Expect("null", () => m.Header->BufAddr = null);
        Expect("IOVA", () => m.Header->BufIova = 0);
        Expect("reference count", () => m.Header->RefCnt = 0);
        Expect("reference count", () => m.Header->RefCnt = ushort.MaxValue);
        Expect("data offset too big", () => m.Header->DataOff = 257);
        Expect("data length too big", () => m.Header->PktLen = m.Header->DataLen = 200);
        Expect("bad data length", () => m.Header->DataLen = 1);
        Expect("bad packet length", () => m.Header->PktLen = 1);
        Expect("number of segments", () => m.Header->NbSegs = 2);
        Expect("number of segments", () => m.Header->NbSegs = 0);
        Assert.False(default(Mbuf).Check(isPacket: false, out string? none) || none == null);
        m.Free();

        void Expect(string word, Action damage)
        {
            damage();
            Assert.False(m.Check(isPacket: true, out string? reason));
            Assert.Contains(word, reason);
            *m.Header = good;
            Assert.True(m.Check(isPacket: true, out _));
        }
    }

    [Fact]
    public void Dump_Packet_ShowsMetadataAndBytes()
    {
        Mbuf m = _pool.Alloc();
        "Dataplane"u8.CopyTo(new Span<byte>(m.Append(9), 9));
        m.Flags = MbufFlags.RxVlan | MbufFlags.RxIpChecksumGood;
        string text = m.Dump();
        Assert.Contains("9 bytes in 1 segments", text);
        Assert.Contains("RX_VLAN RX_IP_CKSUM_GOOD", text);
        Assert.Contains(Convert.ToHexStringLower("Dataplane"u8), text);
        m.Free();
    }

    [Fact]
    public void TxOffload_Fields_DoNotMeet()
    {
        Mbuf m = _pool.Alloc();
        m.SetTxOffload(127, 0, 255, 0, 127);
        Assert.Equal((127, 0, 255, 0, 127, 0), (m.TxL2Length, m.TxL3Length, m.TxL4Length, m.TxSegmentSize,
            m.TxOuterL2Length, m.TxOuterL3Length));
        m.SetTxOffload(0, 511, 0, 65535, 0, 511);
        Assert.Equal((0, 511, 0, 65535, 0, 511), (m.TxL2Length, m.TxL3Length, m.TxL4Length, m.TxSegmentSize,
            m.TxOuterL2Length, m.TxOuterL3Length));
        m.Free();
    }

    [Fact]
    public void ValidateTxOffload_FlagsThatDoNotMatch_AreNamed()
    {
        Mbuf m = _pool.Alloc();
        Assert.True(m.TrySetLength(100));
        Assert.Null(m.ValidateTxOffload());
        m.Flags = MbufFlags.TxIpChecksum;
        Assert.Contains("TX_IPV4", m.ValidateTxOffload());
        m.Flags = MbufFlags.TxUdpChecksum;
        Assert.Contains("TX_IPV4 or TX_IPV6", m.ValidateTxOffload());
        m.Flags = MbufFlags.TxTcpSegment | MbufFlags.TxTcpChecksum | MbufFlags.TxIpv4 | MbufFlags.TxIpChecksum;
        Assert.Contains("segment size", m.ValidateTxOffload());
        m.SetTxOffload(14, 20, 20, 1460);
        Assert.Null(m.ValidateTxOffload());
        Assert.True(m.TrySetLength(53));
        Assert.Contains("longer", m.ValidateTxOffload());
        m.Free();
    }

    [Theory]
    [InlineData(MbufFlags.None, "NONE")]
    [InlineData(MbufFlags.RxL4ChecksumNone | MbufFlags.RxRssHash, "RX_RSS_HASH RX_L4_CKSUM_NONE")]
    [InlineData(MbufFlags.TxUdpChecksum | MbufFlags.TxTunnelVxlanGpe | MbufFlags.TxOuterIpv6,
        "TX_OUTER_IPV6 TX_UDP_CKSUM TX_TUNNEL_VXLAN_GPE")]
    [InlineData((MbufFlags)(1ul << 23) | MbufFlags.Indirect, "INDIRECT 0x800000")]
    public void FlagNames_AnySet_NamesEach(MbufFlags flags, string names) =>
        Assert.Equal(names, MbufFlagNames.GetNames(flags));
}
