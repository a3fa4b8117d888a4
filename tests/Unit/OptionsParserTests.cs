using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public class OptionsParserTests
{
    private static EalOptions Parse(params string[] args) => EalOptions.Parse(args, out _);

    private static ConfigException Refused(params string[] args) => Assert.Throws<ConfigException>(() => Parse(args));

    [Fact]
    public void Parse_NoArguments_GivesTheDefaults()
    {
        EalOptions options = EalOptions.Parse([], out string[] rest);
        Assert.Empty(rest);
        Assert.Null(options.Lcores);
        Assert.Null(options.MemoryMb);
        Assert.Equal("dataplane", options.FilePrefix);
        Assert.Equal(LogSeverity.Debug, options.LogLevel);
    }

    [Fact]
    public void Parse_EveryOption_SetsItsProperty()
    {
        EalOptions options = Parse("-l", "0-3", "--main-lcore=1", "-S", "2,3", "--numa-mem", "512,0", "--base-virtaddr",
            "0x100000000", "--iova-mode", "va", "-n4", "-r", "2", "--vdev", "net_null0,size=64", "--vdev=net_null1",
            "-a0000:3b:00.0,x=1", "--allow", "0000:3b:00.1", "--no-pci", "--log-level", "warn", "--log-level=lib.*:8",
            "--file-prefix", "two", "--force-max-simd-bitwidth", "256", "-v", "--huge-dir", "/dev/hugepages",
            "--iommu-backend", "type1", "--vfio-vf-token=14d63f20-8445-11ea-8900-1f9ce7d5650d", "--vfio-intr=msi",
            "--iommu-fd", "7");
        Assert.Equal([0, 1, 2, 3], options.Lcores!.Select(lcore => lcore.Id));
        Assert.Equal(1, options.MainLcore);
        Assert.Equal([2, 3], options.ServiceLcores);
        Assert.Equal([512, 0], options.NumaMemoryMb!);
        Assert.Equal(0x100000000UL, options.BaseVirtAddr);
        Assert.Equal(IovaMode.Va, options.IovaMode);
        Assert.Equal(4, options.MemoryChannels);
        Assert.Equal(2, options.MemoryRanks);
        Assert.Equal(["net_null0,size=64", "net_null1"], options.Vdevs);
        Assert.Equal(["0000:3b:00.0,x=1", "0000:3b:00.1"], options.Allow);
        Assert.True(options.NoPci);
        Assert.Equal(LogSeverity.Warning, options.LogLevel);
        Assert.Equal([new LogRule("lib.*", LogSeverity.Debug)], options.LogRules);
        Assert.Equal("two", options.FilePrefix);
        Assert.Equal(256, options.ForceMaxSimdBitwidth);
        Assert.True(options.Version);
        Assert.Equal("/dev/hugepages", options.HugeDir);
        Assert.Equal(IommuBackend.Type1, options.IommuBackend);
        Assert.Equal("14d63f20-8445-11ea-8900-1f9ce7d5650d", options.VfioVfToken.ToString());
        Assert.Equal(InterruptKind.Msi, options.VfioIntr);
        Assert.Equal(7, options.IommuFd);
        Assert.True(Parse("--unsafe-noiommu").UnsafeNoIommu);
    }

    [Theory]
    [InlineData("-m", "64")]
    [InlineData("-m64")]
    [InlineData("-m=64")]
    [InlineData("--memory-size", "64")]
    [InlineData("--memory-size=64")]
    public void Parse_EveryWayToGiveAValue_MeansTheSame(params string[] args) => Assert.Equal(64, Parse(args).MemoryMb);

    [Fact]
    public void Parse_DoubleDash_EndsOurOptions()
    {
        EalOptions options = EalOptions.Parse(["--no-huge", "--", "-m", "--", "x"], out string[] rest);
        Assert.True(options.NoHuge);
        Assert.Null(options.MemoryMb);
        Assert.Equal(["-m", "--", "x"], rest);
    }

    [Fact]
    public void Parse_GluedFlags_SetBoth()
    {
        EalOptions options = Parse("-vh");
        Assert.True(options.Version);
        Assert.True(options.Help);
    }

    [Fact]
    public void Parse_Help_IgnoresContradictions() => Assert.True(Parse("-m", "1", "--numa-mem", "1", "-h").Help);

    [Fact]
    public void Parse_Defaults_AreReplacedByWhatIsGiven()
    {
        var defaults = new EalOptions { MemoryMb = 64, Vdevs = ["net_null0"], FilePrefix = "a" };
        EalOptions options = EalOptions.Parse(["--vdev", "net_ring0", "--vdev", "net_ring1", "-m", "32"], out _,
            defaults);
        Assert.Equal(["net_ring0", "net_ring1"], options.Vdevs);
        Assert.Equal(32, options.MemoryMb);
        Assert.Equal("a", options.FilePrefix);
    }

    [Theory]
    [InlineData("--vdve", "--vdev")]
    [InlineData("--lcore", "--lcores")]
    [InlineData("--numa-memory=1", "--numa-mem")]
    [InlineData("--no-hugepages", "--no-huge")]
    [InlineData("--file-prefx", "--file-prefix")]
    [InlineData("--Main-Lcore", "--main-lcore")]
    [InlineData("-vdev", "--vdev")]
    [InlineData("-lcores", "--lcores")]
    public void Parse_MisspeltOption_NamesItAndTheNearest(string arg, string nearest)
    {
        ConfigException e = Refused(arg);
        Assert.Contains(arg.Split('=')[0], e.What, StringComparison.Ordinal);
        Assert.Contains($"did you mean {nearest}?", e.Fix, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--duration")]
    [InlineData("-Z")]
    [InlineData("-")]
    [InlineData("file.pcap")]
    [InlineData("")]
    public void Parse_SomethingElse_PointsToTheApplicationsPart(string arg) =>
        Assert.Contains("after '--'", Refused(arg).Fix, StringComparison.Ordinal);

    [Theory]
    [InlineData("use -l 0-3", "-c", "f")]
    [InlineData("use -l 0-3", "-c0xf")]
    [InlineData("use -S 4,6", "-s", "0x50")]
    [InlineData("use -l", "-c", "zz")]
    [InlineData("leave it out", "--proc-type=primary")]
    [InlineData("leave it out", "--legacy-mem")]
    public void Parse_OptionOnlyDpdkHas_SaysWhatToDoInstead(string fix, params string[] args)
    {
        ConfigException e = Refused(args);
        Assert.Contains("option of DPDK", e.What, StringComparison.Ordinal);
        Assert.EndsWith(fix, e.Fix, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("-l")]
    [InlineData("-l", "-n", "4")]
    [InlineData("-l", "--")]
    [InlineData("-l", "")]
    [InlineData("--lcores=")]
    [InlineData("--no-huge=1")]
    [InlineData("-m", "0")]
    [InlineData("-m", "-1")]
    [InlineData("-m", "1G")]
    [InlineData("-m", "99999999999")]
    [InlineData("-n", "17")]
    [InlineData("-r", "0")]
    [InlineData("--main-lcore", "128")]
    [InlineData("--numa-mem", "1,")]
    [InlineData("--numa-mem", "0,0")]
    [InlineData("--numa-mem", "a")]
    [InlineData("--base-virtaddr", "0xzz")]
    [InlineData("--base-virtaddr", "0")]
    [InlineData("--base-virtaddr", "ffffffffffffffff")]
    [InlineData("--iova-mode", "dc")]
    [InlineData("--iommu-backend", "vfio")]
    [InlineData("--vfio-intr", "msi-x")]
    [InlineData("--vfio-vf-token", "1234")]
    [InlineData("--vdev", ",size=1")]
    [InlineData("--vdev", "net_null0,size")]
    [InlineData("--file-prefix", "a/b")]
    [InlineData("--file-prefix", "a%b")]
    [InlineData("--force-max-simd-bitwidth", "100")]
    [InlineData("--log-level", "loud")]
    [InlineData("--log-level", "e")]
    [InlineData("--log-level", "9")]
    [InlineData("--log-level", ":debug")]
    [InlineData("--log-level", "lib.*:")]
    [InlineData("--log-level", "lib.*,debug")]
    public void Parse_BadValue_NamesTheOption(params string[] args) =>
        Assert.StartsWith(args[0].Split('=')[0], Refused(args).What, StringComparison.Ordinal);

    [Theory]
    [InlineData("-a", "0000:3b:00.0", "-b", "0000:3b:00.1")]
    [InlineData("-m", "64", "--numa-mem", "64")]
    [InlineData("--no-huge", "--numa-mem", "64")]
    [InlineData("--no-huge", "--huge-dir", "/x")]
    [InlineData("--in-memory", "--huge-dir", "/x")]
    [InlineData("-m", "64", "-m", "32")]
    [InlineData("-l", "0", "--lcores", "1")]
    [InlineData("-l", "0-1", "--main-lcore", "2")]
    [InlineData("-l", "0-1", "--main-lcore", "1", "-S", "1")]
    [InlineData("-l", "0-1", "-S", "0-1")]
    [InlineData("--vdev", "net_null0", "--vdev", "net_null0,size=128")]
    public void Parse_Contradiction_IsRefused(params string[] args) => Refused(args);

    [Fact]
    public void Validate_TypedOptions_AreHeldToTheSameRules()
    {
        LcoreAssignment lcore = new(1, CpuSet.Of(1));
        Assert.Throws<ConfigException>(() => new EalOptions { Lcores = [lcore, lcore] }.Validate());
        Assert.Throws<ConfigException>(() => new EalOptions { Lcores = [] }.Validate());
        Assert.Throws<ConfigException>(() => new EalOptions { MemoryMb = -1 }.Validate());
        Assert.Throws<ConfigException>(() => new EalOptions { NumaMemoryMb = [64, -1] }.Validate());
        Assert.Throws<ConfigException>(() => new EalOptions { MemoryChannels = 0 }.Validate());
        Assert.Throws<ConfigException>(() => new EalOptions { FilePrefix = "a/b" }.Validate());
        Assert.Throws<ConfigException>(() => new EalOptions { ForceMaxSimdBitwidth = 65 }.Validate());
        Assert.Throws<ConfigException>(() => new EalOptions { MemoryMb = 1, NumaMemoryMb = [1] }.Validate());
        new EalOptions { Lcores = [lcore], MemoryMb = 1 }.Validate();
    }

    [Fact]
    public void Parse_AnyArguments_GivesOptionsOrConfigException()
    {
        string[] words = [.. OptionTable.All.SelectMany(option => option.Names), .. OptionTable.Elsewhere.Keys, "--",
            "-", "=", "0-1", "(1,2)@0", "64", "net_null0,a=[1", "*:8", ":", "0x", ",", "", "\0", "-l0", "-m=1",
            "--lcores=", "--=", "é"];
        Gen<string> word = Gen.Elements(words);
        Gen<string> glued = from a in word from b in word select a + b;
        Prop.ForAll(Gen.ArrayOf(Gen.OneOf(word, glued)).ToArbitrary(), args =>
        {
            try
            {
                return EalOptions.Parse(args, out _) != null;
            }
            catch (ConfigException e)
            {
                return e.What.Length > 0;
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(2000));
    }

    [Fact]
    public void Help_EveryOption_IsInItAndNoLineIsLong()
    {
        foreach (string name in OptionTable.All.SelectMany(option => option.Names))
            Assert.Contains(name, EalOptions.HelpText, StringComparison.Ordinal);
        Assert.All(EalOptions.HelpText.Split('\n'), line => Assert.True(line.Length <= 100, line));
    }

    [Fact]
    public void Table_Names_AreUniqueAndPropertiesExist()
    {
        string[] names = [.. OptionTable.All.SelectMany(option => option.Names), .. OptionTable.Elsewhere.Keys];
        Assert.Equal(names.Length, names.Distinct().Count());
        Assert.All(OptionTable.All, option => Assert.NotNull(typeof(EalOptions).GetProperty(option.Key)));
    }

    [Theory]
    [InlineData("", "", 0)]
    [InlineData("abc", "abc", 0)]
    [InlineData("abc", "acb", 1)]
    [InlineData("abc", "ABD", 1)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("", "abc", 3)]
    public void Distance_KnownPairs_IsRight(string a, string b, int expected) =>
        Assert.Equal(expected, Nearest.Distance(a, b));
}
