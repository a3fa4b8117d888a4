using System.IO.Enumeration;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// DPDK's log types and levels before <see cref="ILogger"/>: each type ("lib.eal", "pmd.net.tap") is a logger
/// category with a level of its own, and a message passes when it is at least as urgent as both its type's level and
/// <see cref="GlobalLevel"/>. Any thread; the data path never logs.
/// </summary>
public sealed class Log : ILoggerFactory
{
    private readonly Dictionary<string, LogType> _types = [];
    private readonly List<LogRule> _rules;
    private readonly ILoggerFactory _output;
    private readonly bool _ownsOutput;
    private readonly Lock _lock = new();

    /// <summary>Makes a log with the levels of <paramref name="options"/>.</summary>
    /// <param name="options">Its log options are used.</param>
    /// <param name="output">Where messages go; not disposed. Null: to stderr, one line per message.</param>
    public Log(EalOptions options, ILoggerFactory? output = null)
    {
        GlobalLevel = options.LogLevel;
        _rules = [.. options.LogRules];
        _ownsOutput = output == null;
        _output = output ?? new LoggerFactory([new StderrLoggerProvider()],
            new LoggerFilterOptions { MinLevel = LogLevel.Trace });
    }

    /// <summary>The level of types that no rule matches.</summary>
    public const LogSeverity DefaultTypeLevel = LogSeverity.Info;

    /// <summary>The bound on all types.</summary>
    public LogSeverity GlobalLevel { get; set; }

    /// <summary>The types registered so far, by name, and their levels.</summary>
    public IReadOnlyList<KeyValuePair<string, LogSeverity>> Types
    {
        get
        {
            lock (_lock)
                return _types.Select(pair => KeyValuePair.Create(pair.Key, pair.Value.Level))
                    .OrderBy(pair => pair.Key, StringComparer.Ordinal).ToArray();
        }
    }

    /// <summary>The logger of a type, registered by its first use.</summary>
    /// <param name="categoryName">The type: lower-case words joined by dots, "lib." or "pmd." first.</param>
    public ILogger CreateLogger(string categoryName)
    {
        lock (_lock)
        {
            if (!_types.TryGetValue(categoryName, out LogType? type))
            {
                type = new LogType(this, _output.CreateLogger(categoryName)) { Level = LevelOf(categoryName) };
                _types.Add(categoryName, type);
            }
            return type;
        }
    }

    /// <summary>Sets the level of all types a pattern matches, those registered later too.</summary>
    /// <param name="pattern">A type; <c>*</c> stands for any characters, <c>?</c> for one.</param>
    /// <param name="level">Messages less urgent are dropped.</param>
    public void SetLevel(string pattern, LogSeverity level)
    {
        lock (_lock)
        {
            _rules.Add(new LogRule(pattern, level));
            foreach ((string name, LogType type) in _types)
                type.Level = LevelOf(name);
        }
    }

    /// <summary>Sends messages to one more place.</summary>
    public void AddProvider(ILoggerProvider provider) => _output.AddProvider(provider);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_ownsOutput)
            _output.Dispose();
    }

    private LogSeverity LevelOf(string type) =>
        _rules.LastOrDefault(rule => FileSystemName.MatchesSimpleExpression(rule.Pattern, type,
        ignoreCase: false))?.Level
            ?? DefaultTypeLevel;

    /// <summary>One type's logger.</summary>
    private sealed class LogType(Log log, ILogger output) : ILogger
    {
        internal LogSeverity Level { get; set; }

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => output.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel)
        {
            LogSeverity severity = LogSeverities.From(logLevel);
            return logLevel != LogLevel.None && severity <= Level && severity <= log.GlobalLevel
                && output.IsEnabled(logLevel);
        }

        void ILogger.Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                output.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
