using System.Text;
using Microsoft.Extensions.Configuration;

namespace Dataplane.Tests;

public class OptionsConfigurationTests
{
    private static EalOptions Read(string json) => EalOptions.FromConfiguration(new ConfigurationBuilder()
        .AddJsonStream(new MemoryStream(Encoding.UTF8.GetBytes($"{{ \"Dataplane\": {json} }}")))
        .Build().GetSection("Dataplane"));

    [Fact]
    public void Configuration_Full_SetsEveryProperty()
    {
        EalOptions options = Read("""
            {
              "Lcores": "0-1,2@(4-5)", "MainLcore": 1, "ServiceLcores": [2], "NumaMemoryMb": [512, 0],
              "HugeDir": "/mnt/huge", "BaseVirtAddr": "0x100000000", "IovaMode": "va",
              "MemoryChannels": 4, "MemoryRanks": 2,
              "Vdevs": ["net_null0,size=64", "net_null1"], "Block": ["0000:3b:00.0"],
              "NoPci": true, "FilePrefix": "two",
              "ForceMaxSimdBitwidth": 128, "Version": false, "NoHuge": false, "InMemory": "False",
              "LogLevel": { "Default": "info", "pmd.*": "debug" }
            }
            """);
        Assert.Equal("0@0,1@1,2@(4-5)", LcoreList.Format(options.Lcores!));
        Assert.Equal(1, options.MainLcore);
        Assert.Equal([2], options.ServiceLcores);
        Assert.Equal([512, 0], options.NumaMemoryMb!);
        Assert.Equal("/mnt/huge", options.HugeDir);
        Assert.Equal(1UL << 32, options.BaseVirtAddr);
        Assert.Equal(IovaMode.Va, options.IovaMode);
        Assert.Equal((4, 2), (options.MemoryChannels, options.MemoryRanks));
        Assert.Equal(["net_null0,size=64", "net_null1"], options.Vdevs);
        Assert.Equal(["0000:3b:00.0"], options.Block);
        Assert.True(options.NoPci);
        Assert.False(options.InMemory);
        Assert.Equal("two", options.FilePrefix);
        Assert.Equal(128, options.ForceMaxSimdBitwidth);
        Assert.Equal(LogSeverity.Info, options.LogLevel);
        Assert.Equal([new LogRule("pmd.*", LogSeverity.Debug)], options.LogRules);
    }

    [Fact]
    public void Configuration_Absent_GivesTheDefaults() =>
        Assert.Equal(new EalOptions().FilePrefix, EalOptions.FromConfiguration(
            new ConfigurationBuilder().Build().GetSection("Dataplane")).FilePrefix);

    [Theory]
    [InlineData("""["lib.*:8", "warning"]""")]
    [InlineData("""{ "lib.*": 8, "Default": "warning" }""")]
    public void Configuration_LogLevelAsListOrSection_MeansTheSame(string json)
    {
        EalOptions options = Read($$"""{ "LogLevel": {{json}} }""");
        Assert.Equal(LogSeverity.Warning, options.LogLevel);
        Assert.Equal([new LogRule("lib.*", LogSeverity.Debug)], options.LogRules);
    }

    [Fact]
    public void Configuration_UnderACommandLine_GivesWay()
    {
        EalOptions file = Read("""{ "MemoryMb": 64, "LogLevel": { "a": "debug" } }""");
        EalOptions options = EalOptions.Parse(["-m", "32", "--log-level", "b:info"], out _, file);
        Assert.Equal(32, options.MemoryMb);
        Assert.Equal([new LogRule("b", LogSeverity.Info)], options.LogRules);
    }

    [Theory]
    [InlineData("""{ "Vdev": "net_null0" }""", "Dataplane:Vdev", "did you mean Vdevs?")]
    [InlineData("""{ "Colour": "red" }""", "Dataplane:Colour", "Lcores, MainLcore")]
    public void Configuration_UnknownKey_NamesItAndTheNearest(string json, string path, string fix)
    {
        ConfigException e = Assert.Throws<ConfigException>(() => Read(json));
        Assert.StartsWith(path, e.What, StringComparison.Ordinal);
        Assert.Contains(fix, e.Fix, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{ "MemoryMb": "much" }""", "Dataplane:MemoryMb")]
    [InlineData("""{ "NoPci": "maybe" }""", "Dataplane:NoPci")]
    [InlineData("""{ "Lcores": "0-" }""", "Dataplane:Lcores")]
    [InlineData("""{ "Vdevs": [{ "name": "x" }] }""", "Dataplane:Vdevs:0")]
    [InlineData("""{ "LogLevel": { "lib.*": "loud" } }""", "Dataplane:LogLevel")]
    [InlineData("""{ "MemoryMb": 1, "NumaMemoryMb": "1" }""", "-m and --numa-mem")]
    public void Configuration_BadValue_NamesItsPath(string json, string path) =>
        Assert.StartsWith(path, Assert.Throws<ConfigException>(() => Read(json)).What, StringComparison.Ordinal);
}
