using System.Reflection;
using System.Runtime.Intrinsics;
using Microsoft.Extensions.Logging;

namespace Dataplane;

public sealed partial class Eal
{
    /// <summary>This library's version, e.g. <c>0.1.0</c>.</summary>
    public static string VersionText { get; } =
        typeof(Eal).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split(
        '+')[0]
            ?? "unknown";

    // What is asked for and cannot be done is said, not passed over.
    private void ReportUnheeded()
    {
        int widest = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
        if (Options.ForceMaxSimdBitwidth is > 0 and { } bits && bits < widest)
            LogSimdWidth(_logger, bits, widest,
                bits switch { 64 => "EnableHWIntrinsic", 128 => "EnableAVX2", _ => "EnableAVX512" });
    }

    [LoggerMessage(LogLevel.Warning, "--force-max-simd-bitwidth={Bits} has no effect: the runtime uses {Widest} bits, "
        + "and only its start can change that: start the process with DOTNET_{Setting}=0")]
    private static partial void LogSimdWidth(ILogger logger, int bits, int widest, string setting);

    [LoggerMessage(Level = LogLevel.Information, Message = "Dataplane {Version} on Linux {Kernel}, .NET {Runtime}")]
    private static partial void LogVersion(ILogger logger, string version, Version kernel, Version runtime);
}
