using Microsoft.Extensions.Logging;

namespace Dataplane;

public sealed partial class Eal
{
    private void StartTelemetry()
    {
        if (Options.NoTelemetry || (Options.InMemory && !Options.Telemetry))
            return;
        try
        {
            TelemetrySocket socket = TelemetrySocket.Open(Options.FilePrefix);
            try
            {
                _telemetryServer = new TelemetryServer(this, Telemetry, socket, Log.CreateLogger("lib.telemetry"));
                Telemetry.SocketPath = socket.Path;
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
        catch (DataplaneException e) when (!Options.Telemetry)
        {
            LogNoTelemetry(_logger, e.Message);
        }
    }

    [LoggerMessage(LogLevel.Information, "no telemetry: {Why}")]
    private static partial void LogNoTelemetry(ILogger logger, string why);
}
