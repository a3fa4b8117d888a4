using System.Diagnostics.Tracing;
using System.Globalization;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;

namespace Dataplane.Apps.Watch;

/// <summary>Sends the meter to a collector every few seconds, and once more at the end.</summary>
internal sealed class OtlpSender : IDisposable
{
    private const int GrpcPort = 4317, DefaultIntervalMs = 5000, LastFlushMs = 5000;

    private readonly MeterProvider _provider;
    private readonly FailureTeller _failures;

    public OtlpSender(Uri url, string app)
    {
        _failures = new FailureTeller(url);
        bool isGrpc = url.Port == GrpcPort;
        // The exporter adds the signal's path to what comes from the environment only.
        Uri endpoint = isGrpc || url.AbsolutePath.Length > 1 ? url : new Uri(url, "/v1/metrics");
        _provider = Sdk.CreateMeterProviderBuilder()
            .ConfigureResource(resource => resource.AddService($"dataplane-{app.ToLowerInvariant()}",
                serviceVersion: Eal.VersionText, serviceInstanceId: Environment.ProcessId.ToString(
                CultureInfo.InvariantCulture)))
            .AddMeter(Telemetry.MeterName)
            .AddOtlpExporter((exporter, reader) =>
            {
                exporter.Endpoint = endpoint;
                exporter.Protocol = isGrpc ? OtlpExportProtocol.Grpc : OtlpExportProtocol.HttpProtobuf;
                if (Environment.GetEnvironmentVariable("OTEL_METRIC_EXPORT_INTERVAL") == null)
                    reader.PeriodicExportingMetricReaderOptions.ExportIntervalMilliseconds = DefaultIntervalMs;
            })
            .Build();
    }

    public void Dispose()
    {
        _provider.ForceFlush(LastFlushMs);
        _provider.Dispose();
        _failures.Dispose();
    }

    /// <summary>The exporter tells of its failures by an event source only. Says the first one.</summary>
    private sealed class FailureTeller(Uri url) : EventListener
    {
        private int _told;

        protected override void OnEventSourceCreated(EventSource eventSource)
        {
            if (eventSource.Name == "OpenTelemetry-Exporter-OpenTelemetryProtocol")
                EnableEvents(eventSource, EventLevel.Error);
        }

        protected override void OnEventWritten(EventWrittenEventArgs eventData)
        {
            if (Interlocked.Exchange(ref _told, 1) == 0)
                Console.Error.WriteLine($"--otlp {url}: no collector takes the metrics there; nothing more is said of "
                    + "it, and it is tried again");
        }
    }
}
