using System.Text;
using Microsoft.Extensions.Logging;

namespace Dataplane.Tests;

public class OptionsLogTests
{
    private readonly MemoryStream _output = new();

    private Log Make(params string[] args)
    {
        LoggerFactory factory = new([new StderrLoggerProvider(_output)],
            new LoggerFilterOptions { MinLevel = LogLevel.Trace });
        return new Log(EalOptions.Parse(args, out _), factory);
    }

    private string Written => Encoding.UTF8.GetString(_output.ToArray());

    [Fact]
    public void Log_Defaults_PassInfoAndDropDebug()
    {
        using Log log = Make();
        ILogger logger = log.CreateLogger("lib.eal");
        logger.LogDebug("no");
        logger.LogInformation("{Count} lcores", 2);
        logger.LogWarning("slow");
        Assert.Equal("lib.eal: 2 lcores\nlib.eal: warning: slow\n", Written);
    }

    [Theory]
    [InlineData("lib.eal", LogLevel.Debug, true)]
    [InlineData("lib.eal2", LogLevel.Debug, false)]
    [InlineData("pmd.net.tap", LogLevel.Warning, false)]
    [InlineData("pmd.net.tap", LogLevel.Error, true)]
    [InlineData("pmd.net.null", LogLevel.Trace, true)]
    public void Rules_LastMatch_Counts(string type, LogLevel level, bool passes)
    {
        using Log log = Make("--log-level", "pmd.*:err", "--log-level=lib.eal:8", "--log-level", "pmd.net.nul?:debug");
        Assert.Equal(passes, log.CreateLogger(type).IsEnabled(level));
    }

    [Fact]
    public void GlobalLevel_BoundsEveryType()
    {
        using Log log = Make("--log-level", "error", "--log-level", "*:debug");
        ILogger logger = log.CreateLogger("lib.eal");
        Assert.False(logger.IsEnabled(LogLevel.Warning));
        Assert.True(logger.IsEnabled(LogLevel.Error));
        log.GlobalLevel = LogSeverity.Debug;
        Assert.True(logger.IsEnabled(LogLevel.Debug));
        Assert.False(logger.IsEnabled(LogLevel.None));
    }

    [Fact]
    public void SetLevel_AppliesToTypesThereAndToCome()
    {
        using Log log = Make();
        ILogger early = log.CreateLogger("lib.ring");
        log.SetLevel("lib.*", LogSeverity.Debug);
        Assert.True(early.IsEnabled(LogLevel.Debug));
        Assert.True(log.CreateLogger("lib.mempool").IsEnabled(LogLevel.Debug));
        Assert.False(log.CreateLogger("pmd.null").IsEnabled(LogLevel.Debug));
        Assert.Equal(["lib.mempool", "lib.ring", "pmd.null"], log.Types.Select(pair => pair.Key));
        Assert.Same(early, log.CreateLogger("lib.ring"));
    }

    [Fact]
    public void Output_ExceptionOfSeveralLines_StaysOneLine()
    {
        using Log log = Make();
        log.CreateLogger("lib.x").LogError(new ConfigException("bad", why: "because", fix: "do"), "cannot start");
        Assert.Equal("lib.x: error: cannot start: bad; why: because; fix: do\n", Written);
    }

    [Fact]
    public void Output_ClosedStream_DoesNotThrow()
    {
        using var provider = new StderrLoggerProvider(new BrokenStream());
        provider.CreateLogger("lib.x").LogInformation("lost");
    }

    [Fact]
    public void Dispose_HostsFactory_StaysUsable()
    {
        using LoggerFactory factory = new([new StderrLoggerProvider(_output)]);
        new Log(new EalOptions(), factory).Dispose();
        factory.CreateLogger("host").LogInformation("alive");
        Assert.Equal("host: alive\n", Written);
    }

    [Fact]
    public void Eal_VersionOption_IsLoggedToTheHostsFactory()
    {
        using LoggerFactory factory = new([new StderrLoggerProvider(_output)]);
        using (Eal eal = Eal.Initialize(EalOptions.Parse(["-v", "--no-huge"], out _), factory))
            eal.Log.CreateLogger("lib.test").LogInformation("here");
        Assert.Contains($"lib.eal: Dataplane {Eal.VersionText} on Linux", Written, StringComparison.Ordinal);
        Assert.Contains("lib.test: here", Written, StringComparison.Ordinal);
    }

    [Fact]
    public void Eal_ContradictoryOptions_AreRefused() => Assert.Throws<ConfigException>(
        () => Eal.Initialize(new EalOptions { MemoryMb = 1, NumaMemoryMb = [1] }));

    [Theory]
    [InlineData("emerg", LogSeverity.Emergency)]
    [InlineData("crit", LogSeverity.Critical)]
    [InlineData("ERR", LogSeverity.Error)]
    [InlineData("n", LogSeverity.Notice)]
    [InlineData("1", LogSeverity.Emergency)]
    [InlineData("8", LogSeverity.Debug)]
    public void Level_NamesPrefixesNumbers_AreRead(string text, LogSeverity expected)
    {
        Assert.Equal(expected, LogSeverities.Parse(text, "--log-level"));
        Assert.Equal(expected, LogSeverities.Parse(LogSeverities.Name(expected), "--log-level"));
    }

    [Fact]
    public void Level_Misspelt_NamesTheNearest() => Assert.Equal("did you mean warning?",
        Assert.Throws<ConfigException>(() => LogSeverities.Parse("warnign", "--log-level")).Fix);

    private sealed class BrokenStream : MemoryStream
    {
        public override void Write(ReadOnlySpan<byte> buffer) => throw new IOException("EPIPE");
    }

    [Theory]
    [InlineData("--force-max-simd-bitwidth=64", "DOTNET_EnableHWIntrinsic=0")]
    [InlineData("--force-max-simd-bitwidth=0", "")]
    public void Eal_OptionThatChangesNothing_IsSaid(string option, string warning)
    {
        using LoggerFactory factory = new([new StderrLoggerProvider(_output)]);
        using (Eal.Initialize(EalOptions.Parse(["--no-huge", "-m", "4", option], out _), factory)) { }
        Assert.Contains(warning, Written);
        Assert.Equal(warning.Length > 0, Written.Contains("no effect"));
    }
}
