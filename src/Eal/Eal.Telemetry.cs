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
            TelemetrySocket telemetry = TelemetrySocket.Open(Options.FilePrefix, TelemetrySocket.TelemetryName);
            TelemetrySocket? control = null;
            try
            {
                control = TelemetrySocket.Open(Options.FilePrefix, ControlService.FileName);
                _localServer = new LocalServer(this, Log.CreateLogger("lib.telemetry"),
                    new TelemetryService(Telemetry, telemetry), new ControlService(Control, control));
                (Telemetry.SocketPath, Control.SocketPath) = (telemetry.Path, control.Path);
                TelemetrySocket.RemoveDead();
            }
            catch
            {
                telemetry.Dispose();
                control?.Dispose();
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
