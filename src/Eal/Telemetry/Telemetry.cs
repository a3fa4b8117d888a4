using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>Answers one telemetry command.</summary>
/// <param name="command">As asked, without parameters.</param>
/// <param name="parameters">What followed the first comma; null where nothing did.</param>
/// <returns>Null: no answer (wrong parameters, no such thing).</returns>
public delegate TelemetryValue? TelemetryCallback(string command, string? parameters);

/// <summary>
/// What the environment and the application tell about themselves, by commands such as <c>/ethdev/stats,0</c>, over
/// a Unix socket that speaks DPDK's telemetry protocol, version 2. Any thread. Callbacks run on one control thread.
/// </summary>
public sealed partial class Telemetry
{
    private const int MaxCommandLength = 55;

    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, Registration> _commands = new(StringComparer.Ordinal);
    private readonly ILogger _logger;

    internal Telemetry(ILogger logger)
    {
        _logger = logger;
        Register("/", (_, _) => List(), "Returns list of available commands, Takes no parameters");
        Register("/info", (_, _) => Info(), "Returns Telemetry information. Takes no parameters");
        Register("/help", Help, "Returns help text for a command. Parameters: string command");
    }

    /// <summary>Name of the meter.</summary>
    public const string MeterName = "Dataplane";

    /// <summary>
    /// The meter of environment, pools, rings and ports, for dotnet-counters, OpenTelemetry and whoever else listens.
    /// Observable instruments only: nothing on the data path knows of it. Applications may add theirs.
    /// </summary>
    public Meter Meter { get; } = new(MeterName, Eal.VersionText);

    /// <summary>Where it listens; null where it does not (<c>--no-telemetry</c>, <c>--in-memory</c>, or no directory
    /// for it could be had).</summary>
    public string? SocketPath { get; internal set; }

    /// <summary>Adds a command. One of that name that was there is hidden until this one goes.</summary>
    /// <param name="command">1 to 55 letters, digits, '_' and '/', the first a '/'.</param>
    /// <param name="callback">Runs on a control thread, one at a time; what it throws is "no answer".</param>
    /// <param name="help">At most 127 characters: what it returns and its parameters.</param>
    /// <returns>Dispose it to take the command away. It goes with the environment otherwise.</returns>
    /// <exception cref="ConfigException">The name or the help cannot be.</exception>
    public IDisposable Register(string command, TelemetryCallback callback, string help)
    {
        ArgumentNullException.ThrowIfNull(callback);
        if (command.Length is 0 or > MaxCommandLength || command[0] != '/'
            || !command.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '/'))
            throw new ConfigException($"a telemetry command cannot be called '{command}'",
                $"it is a '/' and up to {MaxCommandLength - 1} letters, digits, '_' and '/'");
        if (help.Length > TelemetryValue.MaxStringLength)
            throw new ConfigException($"the help of telemetry command {command} is too long",
                $"it has {help.Length} characters", $"use at most {TelemetryValue.MaxStringLength}");
        lock (_lock)
        {
            var registration = new Registration(this, command, callback, help, _commands.GetValueOrDefault(command));
            _commands[command] = registration;
            return registration;
        }
    }

    /// <summary>What a client is told when it connects.</summary>
    internal static string Greeting => Info().ToJson(TelemetryValue.MaxOutputBytes);

    internal bool Has(string command)
    {
        lock (_lock)
            return _commands.ContainsKey(command);
    }

    /// <summary>Answers one request, whatever it is. Never throws.</summary>
    /// <param name="request">As it came: no terminator, any bytes.</param>
    /// <returns>JSON, at most <see cref="TelemetryValue.MaxOutputBytes"/> ASCII characters.</returns>
    internal string Answer(ReadOnlySpan<byte> request)
    {
        int end = request.IndexOf((byte)0);
        string text = Encoding.Latin1.GetString(end < 0 ? request : request[..end]).TrimStart(',');
        int comma = text.IndexOf(',', StringComparison.Ordinal);
        string command = comma < 0 ? text : text[..comma];
        string? parameters = comma < 0 || comma == text.Length - 1 ? null : text[(comma + 1)..];
        string head = "{" + TelemetryValue.Quote(command.Length == 0 ? "none" : command, MaxCommandLength + 1) + ":";
        return head + (Ask(command, parameters)?.ToJson(TelemetryValue.MaxOutputBytes - head.Length - 1) is { } json
            and not "" ? json : "null") + "}";
    }

    private TelemetryValue? Ask(string command, string? parameters)
    {
        Registration? found;
        lock (_lock)
            found = _commands.GetValueOrDefault(command);
        try
        {
            return found?.Callback(command, parameters);
        }
        catch (Exception e)
        {
            LogFailure(_logger, e, command);
            return null;
        }
    }

    private TelemetryArray List()
    {
        var list = new TelemetryArray();
        lock (_lock)
            foreach (string command in _commands.Keys)
                list.Add(command);
        return list;
    }

    private static TelemetryDict Info() => new()
    {
        { "version", $"Dataplane {Eal.VersionText}" },
        { "pid", Environment.ProcessId },
        { "max_output_len", TelemetryValue.MaxOutputBytes },
    };

    private TelemetryValue? Help(string command, string? parameters)
    {
        lock (_lock)
            return !_commands.TryGetValue(parameters ?? command, out Registration? found) ? null
                : parameters == null ? TelemetryValue.Text(found.Help)
                : new TelemetryDict { { parameters, found.Help } };
    }

    [LoggerMessage(LogLevel.Debug, "telemetry command {Command} failed")]
    private static partial void LogFailure(ILogger logger, Exception exception, string command);

    private sealed class Registration(Telemetry owner, string command, TelemetryCallback callback, string help,
        Registration? hidden) : IDisposable
    {
        private bool _gone;

        internal TelemetryCallback Callback => callback;

        internal string Help => help;

        public void Dispose()
        {
            lock (owner._lock)
            {
                _gone = true;
                Registration? current = owner._commands.GetValueOrDefault(command);
                while (current is { _gone: true })
                    current = current.Hidden;
                if (current == null)
                    owner._commands.Remove(command);
                else
                    owner._commands[command] = current;
            }
        }

        private Registration? Hidden => hidden;
    }
}

/// <summary>Parameters of telemetry commands.</summary>
internal static class TelemetryParameters
{
    /// <summary>The first numbers of a list, decimal; what follows them is not looked at.</summary>
    /// <returns>Null where there are fewer, or one does not begin with a digit or is too large.</returns>
    internal static uint[]? Numbers(string? parameters, int count)
    {
        string[] parts = (parameters ?? "").Split(',', count + 1);
        uint[] numbers = new uint[count];
        for (int i = 0; i < count; i++)
        {
            int digits = 0;
            while (i < parts.Length && digits < parts[i].Length && char.IsAsciiDigit(parts[i][digits]))
                digits++;
            if (digits == 0 || !uint.TryParse(parts[i].AsSpan(0, digits), NumberStyles.None,
                CultureInfo.InvariantCulture, out numbers[i]))
                return null;
        }
        return numbers;
    }
}
