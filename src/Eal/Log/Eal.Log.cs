using System.Reflection;
using Microsoft.Extensions.Logging;

namespace Dataplane;

public sealed partial class Eal
{
    /// <summary>This library's version, e.g. <c>0.1.0</c>.</summary>
    public static string VersionText { get; } =
        typeof(Eal).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split(
        '+')[0]
            ?? "unknown";

    [LoggerMessage(Level = LogLevel.Information, Message = "Dataplane {Version} on Linux {Kernel}, .NET {Runtime}")]
    private static partial void LogVersion(ILogger logger, string version, Version kernel, Version runtime);
}
