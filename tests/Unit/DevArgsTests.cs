namespace Dataplane.Tests;

public class DevArgsTests
{
    [Fact]
    public void Parse_NameAndPairs_KeepsOrderAndRepeats()
    {
        DevArgs args = DevArgs.Parse("net_wire0, size = 64 ,q=[0,2],path=a=b,size=128");
        Assert.Equal("net_wire0", args.Name);
        Assert.Equal(["size", "q", "path", "size"], args.Pairs.Select(pair => pair.Key));
        Assert.Equal(["64", "128"], args.GetAll("size"));
        Assert.Equal("[0,2]", args.GetString("q"));
        Assert.Equal("a=b", args.GetString("path"));
        Assert.Equal(128, args.GetNumber("size", 1));
        args.ThrowIfUnused();
    }

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData(",size=1")]
    [InlineData("size=1")]
    [InlineData("net_null0,")]
    [InlineData("net_null0,size")]
    [InlineData("net_null0,=1")]
    [InlineData("net_null0,a=[1,2")]
    [InlineData("net_null0,a=1],b=[2")]
    public void Parse_Malformed_Throws(string text) => Assert.Throws<ConfigException>(() => DevArgs.Parse(text));

    [Theory]
    [InlineData("7", 7)]
    [InlineData("0x1F", 31)]
    [InlineData("-3", -3)]
    public void GetNumber_DecimalAndHex_AreRead(string text, long expected) =>
        Assert.Equal(expected, DevArgs.Parse($"d0,n={text}").GetNumber("n", 0, -10, 100));

    [Theory]
    [InlineData("")]
    [InlineData("x")]
    [InlineData("0x")]
    [InlineData("1.5")]
    [InlineData("101")]
    [InlineData("-11")]
    [InlineData("99999999999999999999")]
    public void GetNumber_BadOrOutOfRange_NamesDeviceAndKey(string text)
    {
        ConfigException e = Assert.Throws<ConfigException>(() => DevArgs.Parse($"d0,n={text}")
            .GetNumber("n", 0, -10, 100));
        Assert.Contains("'d0'", e.What, StringComparison.Ordinal);
        Assert.Contains($"n={text}", e.What, StringComparison.Ordinal);
    }

    [Fact]
    public void Get_AbsentKey_GivesTheFallback()
    {
        DevArgs args = DevArgs.Parse("d0");
        Assert.Null(args.GetString("a"));
        Assert.Equal(5, args.GetNumber("b", 5));
        Assert.True(args.GetFlag("c", true));
    }

    [Theory]
    [InlineData("1", true)]
    [InlineData("0", false)]
    public void GetFlag_ZeroOrOne_IsRead(string text, bool expected) =>
        Assert.Equal(expected, DevArgs.Parse($"d0,f={text}").GetFlag("f"));

    [Fact]
    public void GetFlag_Two_Throws() => Assert.Throws<ConfigException>(() => DevArgs.Parse("d0,f=2").GetFlag("f"));

    [Fact]
    public void ThrowIfUnused_MisspeltKey_NamesItAndTheNearest()
    {
        DevArgs args = DevArgs.Parse("net_null0,sise=64");
        _ = args.GetNumber("size", 64);
        _ = args.GetFlag("copy");
        ConfigException e = Assert.Throws<ConfigException>(args.ThrowIfUnused);
        Assert.Contains("'sise'", e.What, StringComparison.Ordinal);
        Assert.Equal("did you mean size?", e.Why);
        Assert.Equal("it takes copy, size", e.Fix);
    }
}
