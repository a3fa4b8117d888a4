using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Dataplane.Net;
using FsCheck;
using FsCheck.Fluent;
using static Dataplane.Native.Filter;
using IPv4Address = Dataplane.Net.IPv4Address;

namespace Dataplane.Tests;

/// <summary>Classic BPF: what may run, and that interpreter, compiled code and libpcap agree on what it says.</summary>
public unsafe class FilterTests
{
    private static readonly int[] s_bursts = [0, 1, 7, 32, 64];
    private static readonly sock_filter s_return = new() { code = BPF_RET | BPF_K, k = 7 };
    private static readonly delegate* unmanaged<sock_filter*, byte*, uint, uint, uint> s_bpfFilter =
        (delegate* unmanaged<sock_filter*, byte*, uint, uint, uint>)Export("bpf_filter");
    private static readonly delegate* unmanaged<sock_filter*, int, int> s_bpfValidate =
        (delegate* unmanaged<sock_filter*, int, int>)Export("bpf_validate");

    public static IEnumerable<ITheoryDataRow> Refused =>
    [
        Row("no instruction"), Row("no return at the end", Op(BPF_LD | BPF_IMM)),
        Row("unknown", Op(0x55ff), s_return), Row("unknown load", Op(BPF_LD | 0x18 | BPF_ABS), s_return),
        Row("return of x", Op(BPF_RET | BPF_X)), Row("index from the packet", Op(BPF_LDX | BPF_W | BPF_ABS), s_return),
        Row("jump behind the end", Op(BPF_JMP | BPF_JA, 1), s_return),
        Row("jump round all", Op(BPF_JMP | BPF_JA, uint.MaxValue), s_return),
        Row("jt behind the end", new sock_filter { code = BPF_JMP | BPF_JEQ | BPF_K, jt = 1 }, s_return),
        Row("jf behind the end", new sock_filter { code = BPF_JMP | BPF_JSET | BPF_X, jf = 1 }, s_return),
        Row("jump as the last", s_return, Op(BPF_JMP | BPF_JA)),
        Row("word 16", Op(BPF_ST, 16), s_return), Row("index to word 16", Op(BPF_STX, 16), s_return),
        Row("word 16 read", Op(BPF_LD | BPF_MEM, 16), s_return),
        Row("word never written", Op(BPF_LD | BPF_MEM, 3), s_return),
        Row("index never written", Op(BPF_LDX | BPF_MEM, 3), s_return),
        Row("written on one way of two", new sock_filter { code = BPF_JMP | BPF_JEQ | BPF_K, jt = 1 }, Op(BPF_ST, 3),
            Op(BPF_LD | BPF_MEM, 3), s_return),
        Row("division by zero", Op(BPF_ALU | BPF_DIV | BPF_K), s_return),
        Row("rest of a division by zero", Op(BPF_ALU | BPF_MOD | BPF_K), s_return),
        Row("shift by 32", Op(BPF_ALU | BPF_LSH | BPF_K, 32), s_return),
        Row("shift by -1", Op(BPF_ALU | BPF_RSH | BPF_K, uint.MaxValue), s_return),
        Row("ancillary data", Op(BPF_LD | BPF_H | BPF_ABS, 0xffff_f000), s_return),   // SKF_AD_OFF, SKF_AD_PROTOCOL
        Row("network header", Op(BPF_LD | BPF_W | BPF_ABS, 0xfff0_0000), s_return),   // SKF_NET_OFF
    ];

    [Theory]
    [MemberData(nameof(Refused))]
    public void Program_ThatMayNotRun_IsRefused(string what, ulong[] words)
    {
        ConfigException refusal = Assert.Throws<ConfigException>(() =>
            PacketFilter.Create(MemoryMarshal.Cast<ulong, sock_filter>(words)));
        Assert.True(refusal.Why != null, what);
    }

    [Fact]
    public void Program_OfMostInstructionsAndOneMore_PassesAndIsRefused()
    {
        var program = new sock_filter[BPF_MAXINSNS + 1];
        Array.Fill(program, Op(BPF_LD | BPF_W | BPF_IND, 3));
        program[^1] = program[^2] = s_return;
        Assert.Throws<ConfigException>(() => PacketFilter.Create(program));
        Assert.Equal(7u, AssertSame(program[..^1], new byte[40], 40));
    }

    [Fact]
    public void ScratchWord_WrittenOnBothWays_MayBeRead() => Assert.Equal(5u, AssertSame(
    [
        Op(BPF_LD | BPF_IMM, 5), new() { code = BPF_JMP | BPF_JEQ | BPF_K, k = 5, jf = 2 }, Op(BPF_ST, 3),
        Op(BPF_JMP | BPF_JA, 1), Op(BPF_STX, 3), Op(BPF_LD | BPF_IMM), Op(BPF_LD | BPF_MEM, 3), Op(BPF_RET | BPF_A),
    ], [], 0));

    [Fact]
    public void Filter_WithDynamicCode_IsCompiled()
    {
        Assert.True(PacketFilter.Create([s_return]).IsCompiled);
        Assert.False(PacketFilter.Create([s_return], interpret: true).IsCompiled);
    }

    [Theory]
    [InlineData(BPF_LD | BPF_B | BPF_ABS, 9, 0, 0x49)]
    [InlineData(BPF_LD | BPF_B | BPF_ABS, 10, 0, 0)]
    [InlineData(BPF_LD | BPF_H | BPF_ABS, 8, 0, 0x4849)]
    [InlineData(BPF_LD | BPF_H | BPF_ABS, 9, 0, 0)]
    [InlineData(BPF_LD | BPF_W | BPF_ABS, 6, 0, 0x46474849)]
    [InlineData(BPF_LD | BPF_W | BPF_ABS, 7, 0, 0)]
    [InlineData(BPF_LD | BPF_W | BPF_ABS, int.MaxValue, 0, 0)]
    [InlineData(BPF_LD | BPF_W | BPF_IND, 2, 4, 0x46474849)]
    [InlineData(BPF_LD | BPF_W | BPF_IND, 3, 4, 0)]
    [InlineData(BPF_LD | BPF_H | BPF_IND, 4, 4, 0x4849)]
    [InlineData(BPF_LD | BPF_H | BPF_IND, 4, 5, 0)]
    [InlineData(BPF_LD | BPF_B | BPF_IND, -1, 1, 0)]        // not -1 + 1, as libpcap has it
    [InlineData(BPF_LD | BPF_B | BPF_IND, 1, -1, 0)]
    [InlineData(BPF_LD | BPF_W | BPF_IND, -3, -1, 0)]
    [InlineData(BPF_LD | BPF_W | BPF_LEN, 0, 0, 1500)]
    public void Load_NearTheEnd_TakesWhatIsThereOrEndsWith0(int code, int offset, int index, uint expected)
    {
        sock_filter[] program =
            [Op(BPF_LDX | BPF_IMM, (uint)index), Op((ushort)code, (uint)offset), Op(BPF_RET | BPF_A)];
        byte[] packet = [.. Enumerable.Range(0x40, 10).Select(i => (byte)i)];
        Assert.Equal(expected, AssertSame(program, packet, 1500));
    }

    [Fact]
    public void RandomProgram_ThatPasses_SaysTheSameInterpretedAndCompiledAndInLibpcap()
    {
        int kept = 0, runs = 0;
        Prop.ForAll(ArbMap.Default.ArbFor<DoNotSize<int>>(), seed =>
        {
            var random = new Random(seed.Item);
            sock_filter[] program = FilterRandom.Valid(random, random.Next(60));
            (byte[], uint)[] packets = [.. Enumerable.Range(0, s_bursts[random.Next(s_bursts.Length)]).Select(_ =>
                FilterRandom.Packet(random)).Select(packet => (packet, (uint)(packet.Length + random.Next(3) * 100)))];
            runs += packets.Length;
            kept += AssertSame(program, packets, random).Count(keep => keep != 0);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
        Assert.True(kept > runs / 20 && kept < runs, $"{kept} of {runs} say something: the programs are no test");
    }

    [Fact]
    public void AnyWords_AreRefusedOrRunSafely()
    {
        int passed = 0;
        Prop.ForAll(ArbMap.Default.ArbFor<DoNotSize<int>>(), seed =>
        {
            var random = new Random(seed.Item);
            sock_filter[] program = FilterRandom.Any(random, random.Next(8));
            try
            {
                FilterVerifier.Check(program);
            }
            catch (ConfigException)
            {
                return;
            }
            passed++;
            byte[] packet = FilterRandom.Packet(random);
            AssertSame(program, packet, (uint)packet.Length);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(5000));
        Assert.True(passed > 300, $"only {passed} passed: the words are no test");
    }

    /// <summary>A burst's packets have a verdict each, whatever those before them had.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(32)]
    [InlineData(64)]
    public void Burst_OfPacketsInSegments_HasAVerdictForEach(int count)
    {
        var random = new Random(count);
        (byte[], uint)[] packets = [.. Enumerable.Range(0, count).Select(i =>
        {
            byte[] packet = CaptureRig.Frame((ushort)(i % 3 == 0 ? 7 : 8), 60 + random.Next(9000), random);
            return (packet, (uint)packet.Length);
        })];
        sock_filter[] udpPort7 = [Op(BPF_LDX | BPF_B | BPF_MSH, 14), Op(BPF_LD | BPF_H | BPF_IND, 16),
            new() { code = BPF_JMP | BPF_JEQ | BPF_K, k = 7, jf = 1 }, Op(BPF_RET | BPF_K, 262144), Op(BPF_RET)];
        sock_filter[] length = [Op(BPF_LD | BPF_LEN), new() { code = BPF_JMP | BPF_JGT | BPF_K, k = 3000, jt = 1 },
            Op(BPF_RET | BPF_A), Op(BPF_RET)];
        // Registers begin at 0 with each packet.
        sock_filter[] sum = [Op(BPF_ALU | BPF_ADD | BPF_K, 5), Op(BPF_ALU | BPF_ADD | BPF_X), Op(BPF_MISC | BPF_TAX),
            Op(BPF_RET | BPF_A)];
        for (int round = 0; round < 20; round++)
        {
            Assert.Equal(packets.Select((_, i) => i % 3 == 0 ? 262144u : 0), AssertSame(udpPort7, packets, random));
            Assert.Equal(packets.Select(packet => packet.Item2 > 3000 ? 0 : packet.Item2),
                AssertSame(length, packets, random));
            Assert.Equal(packets.Select(_ => 5u), AssertSame(sum, packets, random));
            Assert.Equal(packets.Select(_ => 9u), AssertSame([Op(BPF_RET | BPF_K, 9)], packets, random));
            Assert.Equal(packets.Select(_ => 0u), AssertSame([Op(BPF_LD | BPF_W | BPF_ABS), Op(BPF_RET)], packets,
                random));
        }
    }

    /// <summary>Of a packet in segments 4,096 bytes are seen, of a first segment that is longer all.</summary>
    [Theory]
    [InlineData(4095, 3000, 0x5au)]
    [InlineData(4096, 3000, 0u)]
    [InlineData(4096, 4097, 0x5au)]
    [InlineData(4097, 4097, 0u)]
    public void Segments_AreSeenAsFarAsTheWindow(int offset, int segment, uint expected)
    {
        byte[] packet = new byte[9000];
        packet.AsSpan().Fill(0x5a);
        using var burst = new FilterBurst();
        burst.Add(packet, 9000, _ => segment);
        foreach (bool interpret in (bool[])[false, true])
            Assert.Equal([expected], burst.Run(PacketFilter.Create([Op(BPF_LD | BPF_B | BPF_ABS, (uint)offset),
                Op(BPF_RET | BPF_A)], interpret)));
    }

    [Theory]
    [InlineData("udp dst port 53", true, false)]
    [InlineData("tcp port 443 and host 10.0.0.2", false, true)]
    [InlineData("ip and not udp", false, true)]
    [InlineData("udp[8:2] = 0 or tcp[tcpflags] & tcp-syn != 0", true, true)]
    [InlineData("len > 500", false, true)]
    [InlineData("net 10.0.0.0/30 and greater 60", true, true)]
    [InlineData("vlan 7", false, false)]
    [InlineData("", true, true)]
    public void Expression_CompiledByLibpcap_TakesWhatItSays(string expression, bool takesDns, bool takesTls)
    {
        RequireLibpcap();
        var (a, b) = (IPv4Address.Parse("10.0.0.1"), IPv4Address.Parse("10.0.0.2"));
        var (from, to) = (MacAddress.Local(1), MacAddress.Local(2));
        byte[] dns = PacketTemplate.Udp4(from, to, a, b, 4000, 53, 64).Frame.ToArray();
        byte[] tls = PacketTemplate.Udp4(from, to, a, b, 4000, 443, 600).Frame.ToArray();
        tls[23] = 6;                    // protocol: TCP
        tls[34 + 13] = 2;               // flags: SYN
        dns.AsSpan(42).Clear();
        sock_filter[] program = Pcap.Compile(expression, 96);
        Assert.Equal((takesDns ? 96u : 0, takesTls ? 96u : 0),
            (AssertSame(program, dns, (uint)dns.Length), AssertSame(program, tls, (uint)tls.Length)));
    }

    [Theory]
    [InlineData("porta 80")]
    [InlineData("host 10.0.0.1 and")]
    [InlineData("tcp port 99999999")]
    public void Expression_ThatIsWrong_IsToldInLibpcapsWords(string expression)
    {
        RequireLibpcap();
        ConfigException e = Assert.Throws<ConfigException>(() => Pcap.Compile(expression, 96));
        Assert.Contains(expression, e.What, StringComparison.Ordinal);
        Assert.False(string.IsNullOrWhiteSpace(e.Why));
    }

    [Fact]
    public void Filter_WhileItRuns_AllocatesNothing()
    {
        var random = new Random(1);
        sock_filter[] program = FilterRandom.Valid(random, 40);
        using var burst = new FilterBurst();
        for (int i = 0; i < 32; i++)
            burst.Add(FilterRandom.Packet(random), 100, left => Math.Min(left, 40));
        foreach (bool interpret in (bool[])[false, true])
        {
            PacketFilter filter = PacketFilter.Create(program, interpret);
            int taken = burst.Count(filter), all = 0;
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 10_000; i++)
                all += burst.Count(filter);
            Assert.Equal((before, 10_000 * taken), (GC.GetAllocatedBytesForCurrentThread(), all));
        }
    }

    /// <summary>Compiled code is given back with its filter.</summary>
    [Fact]
    public void Filters_MadeAndDropped_AreCollected()
    {
        WeakReference[] made = [.. Enumerable.Range(0, 20).Select(_ => Make())];
        for (int i = 0; i < 20 && made.Any(one => one.IsAlive); i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.DoesNotContain(made, one => one.IsAlive);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static WeakReference Make() => new(FilterCompiler.Compile([s_return]).DeclaringType);
    }

    /// <summary>What all of them say.</summary>
    private static uint AssertSame(sock_filter[] program, byte[] packet, uint wireLength) =>
        AssertSame(program, [(packet, wireLength)], new Random(1))[0];

    /// <summary>What all of them say of each packet of a burst, which are in segments at random.</summary>
    private static uint[] AssertSame(sock_filter[] program, (byte[] Bytes, uint WireLength)[] packets, Random random)
    {
        using var burst = new FilterBurst();
        uint[] said = new uint[packets.Length];
        for (int i = 0; i < packets.Length; i++)
        {
            (byte[] bytes, uint wireLength) = packets[i];
            bool isWhole = random.Next(2) == 0;
            burst.Add(bytes, wireLength, left => isWhole ? left : random.Next(left + 1));
            byte[] seen = bytes[..burst.SeenBytes(i)];
            said[i] = FilterInterpreter.Run(program, seen, wireLength);
            uint theirs = Pcap.IsInstalled ? Theirs(program, seen, wireLength) : said[i];
            Assert.True(said[i] == theirs, $"interpreted {said[i]}, libpcap {theirs}: {Text(program)}");
        }
        foreach (bool interpret in (bool[])[false, true])
        {
            uint[] ran = burst.Run(PacketFilter.Create(program, interpret));
            Assert.True(said.AsSpan().SequenceEqual(ran), $"interpreted {string.Join(' ', said)}, as a burst "
                + $"{(interpret ? "interpreted" : "compiled")} {string.Join(' ', ran)}: {Text(program)}");
        }
        return said;
    }

    private static uint Theirs(sock_filter[] program, byte[] packet, uint wireLength)
    {
        byte[] padded = [.. packet, 0];     // a pointer that is not null for a packet without bytes
        fixed (sock_filter* code = program)
        fixed (byte* start = padded)
        {
            Assert.NotEqual(0, s_bpfValidate(code, program.Length));
            return s_bpfFilter(code, start, wireLength, (uint)packet.Length);
        }
    }

    private static nint Export(string name) => Pcap.IsInstalled ? NativeLibrary.GetExport(Pcap.Handle, name) : 0;

    private static void RequireLibpcap() =>
        Assert.SkipUnless(Pcap.IsInstalled, "needs libpcap: sudo apt install libpcap0.8");

    private static sock_filter Op(int code, uint k = 0) => new() { code = (ushort)code, k = k };

    private static TheoryDataRow<string, ulong[]> Row(string what, params sock_filter[] program) =>
        new(what, MemoryMarshal.Cast<sock_filter, ulong>(program).ToArray());

    private static string Text(sock_filter[] program) =>
        string.Join(' ', program.Select(one => $"{{0x{one.code:x},{one.jt},{one.jf},0x{one.k:x}}}"));
}
