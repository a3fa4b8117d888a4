using System.Text;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>Answers requests of one type, on the control thread. What it throws becomes the answer.</summary>
/// <param name="client">Who asks; what is set up for it is to be given to <see cref="LocalClient.Own"/>.</param>
/// <param name="body">Whatever it sent: not to be trusted.</param>
internal delegate ControlAnswer ControlHandler(LocalClient client, ReadOnlySpan<byte> body);

/// <summary>A body, and files to go with it, which stay the handler's until the client goes.</summary>
internal readonly record struct ControlAnswer(byte[] Body, params SafeFileHandle[] Files);

/// <summary>
/// What programs of the same user may ask of this process beside what telemetry tells: captures and the like, which
/// need memory in common and last as long as their connection. Any thread.
/// </summary>
internal sealed partial class Control
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ControlType, ControlHandler> _handlers = [];
    private readonly ILogger _logger;

    internal Control(ILogger logger)
    {
        _logger = logger;
        Register(ControlType.Hello, (_, _) =>
            new(Encoding.UTF8.GetBytes(string.Join('\0', Environment.GetCommandLineArgs()))));
    }

    /// <summary>Where it listens, null where it does not.</summary>
    internal string? SocketPath { get; set; }

    /// <summary>Answers requests of a type from now on, in place of who did so before.</summary>
    /// <returns>Dispose it to answer no more. A request that is being answered just then is not waited for.</returns>
    internal IDisposable Register(ControlType type, ControlHandler handler)
    {
        lock (_lock)
            _handlers[type] = handler;
        return new Registration(this, type, handler);
    }

    /// <summary>Answers a message, whatever it is. Never throws.</summary>
    internal LocalAnswer Answer(LocalClient client, ReadOnlySpan<byte> message)
    {
        if (!ControlHeader.TryParse(message, out ControlHeader header, out ReadOnlySpan<byte> body))
            return Refuse(ControlType.None, Errno.EBADMSG, "no message of this protocol, or not whole");
        ControlHandler? handler;
        lock (_lock)
            handler = _handlers.GetValueOrDefault(header.Type);
        if (handler == null)
            return Refuse(header.Type, Errno.EOPNOTSUPP, $"this application does not do {header.Type}");
        try
        {
            ControlAnswer answer = handler(client, body);
            return new(ControlHeader.Frame(header.Type, Errno.None, answer.Body), answer.Files);
        }
        catch (DataplaneException e)
        {
            return Refuse(header.Type, e.Errno == Errno.None ? Errno.EINVAL : e.Errno, e.Message);
        }
        catch (Exception e)
        {
            LogFailure(_logger, e, header.Type);
            return Refuse(header.Type, Errno.EIO, "the request failed in the application; its log says more");
        }
    }

    internal static LocalAnswer Refuse(ControlType type, Errno error, string why) =>
        new(ControlHeader.Frame(type, error, Encoding.UTF8.GetBytes(why)));

    private void Remove(ControlType type, ControlHandler handler)
    {
        lock (_lock)
            if (_handlers.GetValueOrDefault(type) == handler)
                _handlers.Remove(type);
    }

    [LoggerMessage(LogLevel.Error, "a request of type {Type} failed")]
    private static partial void LogFailure(ILogger logger, Exception exception, ControlType type);

    private sealed class Registration(Control control, ControlType type, ControlHandler handler) : IDisposable
    {
        public void Dispose() => control.Remove(type, handler);
    }
}
