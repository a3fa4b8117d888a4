using System.Text;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// Writes each message as one line, <c>type: level: text</c>, in one write, so that lines of several threads stay
/// whole and none is lost with the process. No thread of its own: one more could land on a poll core.
/// </summary>
/// <param name="output">Where to write; null for stderr.</param>
internal sealed class StderrLoggerProvider(Stream? output = null) : ILoggerProvider
{
    private readonly Stream _output = output ?? Console.OpenStandardError();

    public ILogger CreateLogger(string categoryName) => new Writer(categoryName, _output);

    public void Dispose() => _output.Dispose();

    private sealed class Writer(string type, Stream output) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            var line = new StringBuilder(type).Append(": ");
            if (logLevel != LogLevel.Information)
                line.Append(LogSeverities.Name(LogSeverities.From(logLevel))).Append(": ");
            line.Append(formatter(state, exception));
            if (exception != null)
                line.Append(": ").Append(exception.Message);
            line.Replace("\r", "").Replace("\n  ", "; ").Replace("\n", "; ").Append('\n');
            try
            {
                lock (output)
                    output.Write(Encoding.UTF8.GetBytes(line.ToString()));
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // stderr is a broken pipe, or the EAL is gone: a message is not worth the process.
            }
        }
    }
}
