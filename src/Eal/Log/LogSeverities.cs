using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>The names of the levels, and what they are to <see cref="ILogger"/>.</summary>
internal static class LogSeverities
{
    private static readonly string[] s_names =
        ["emerg", "alert", "critical", "error", "warning", "notice", "info", "debug"];

    /// <summary>DPDK's name of a level.</summary>
    internal static string Name(LogSeverity level) => s_names[(int)level - 1];

    /// <summary>A level by number, name, or the beginning of a name that fits no other.</summary>
    /// <exception cref="ConfigException">No such level.</exception>
    internal static LogSeverity Parse(string text, string option)
    {
        string name = text.Trim().ToLowerInvariant();
        if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && number is >= 1 and <= 8)
            return (LogSeverity)number;
        string[] fitting = s_names.Where(known => name.Length > 0 && known.StartsWith(name, StringComparison.Ordinal))
            .ToArray();
        if (fitting.Length == 1)
            return (LogSeverity)(Array.IndexOf(s_names, fitting[0]) + 1);
        throw new ConfigException($"{option}: '{text}' is not a log level",
            why: fitting.Length > 1 ? "it may be " + string.Join(" or ", fitting) : null,
            fix: Nearest.Advice(name, s_names) ?? $"one of {string.Join(", ", s_names)}, or 1 to 8");
    }

    /// <summary>
    /// The level of an <see cref="ILogger"/> message. .NET has six: Critical stands for the first three, Trace and
    /// Debug for debug, and a message cannot be told to be a notice.
    /// </summary>
    internal static LogSeverity From(LogLevel level) => level switch
    {
        LogLevel.Critical => LogSeverity.Critical,
        LogLevel.Error => LogSeverity.Error,
        LogLevel.Warning => LogSeverity.Warning,
        LogLevel.Information => LogSeverity.Info,
        _ => LogSeverity.Debug,
    };
}
