using System.CommandLine;
using System.Globalization;
using System.Net;

namespace Dataplane.Apps.Watch;

/// <summary>What an application is to show of itself.</summary>
/// <param name="Dashboard">Where to serve the dashboard; null: nowhere.</param>
/// <param name="Otlp">Where to send metrics to; null: nowhere.</param>
public sealed record WatchOptions(IPEndPoint? Dashboard = null, Uri? Otlp = null);

/// <summary>The options that every application has.</summary>
public static class WatchCommandLine
{
    internal const int DefaultPort = 8088;

    private static readonly Option<string> s_dashboard = new("--dashboard")
    {
        Description = "Serve a page with live charts at ADDR[:PORT]; default: 127.0.0.1:8088. Any address but a "
            + "loopback one takes a token, which is printed.",
        HelpName = "ADDR",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private static readonly Option<string> s_otlp = new("--otlp")
    {
        Description = "Send metrics to OpenTelemetry's collector there: http://host:4317 (gRPC), else HTTP/protobuf.",
        HelpName = "URL",
    };

    /// <summary>To add to the application's own.</summary>
    public static IReadOnlyList<Option> Options { get; } = [s_dashboard, s_otlp];

    /// <summary>Their values.</summary>
    /// <exception cref="ConfigException">An address or a URL that is none.</exception>
    public static WatchOptions Bind(ParseResult result) => new(
        result.GetResult(s_dashboard) is { Implicit: false } ? ParseAddress(result.GetValue(s_dashboard) ?? "") : null,
        result.GetValue(s_otlp) is { } url ? ParseUrl(url) : null);

    internal static IPEndPoint ParseAddress(string text)
    {
        bool isPortAlone = text.StartsWith(':') && !text.StartsWith("::", StringComparison.Ordinal);
        string address = isPortAlone ? "127.0.0.1" + text : text;
        if (text.Length == 0)
            return new(IPAddress.Loopback, DefaultPort);
        if (address == "localhost" || address.StartsWith("localhost:", StringComparison.Ordinal))
            address = "127.0.0.1" + address["localhost".Length..];
        bool hasPort = address.StartsWith('[') ? address.Contains("]:", StringComparison.Ordinal)
            : address.Count(c => c == ':') == 1;
        // A lone number would be read as an IPv4 address of 32 bits.
        if (address.Any(c => c is '.' or ':') && IPEndPoint.TryParse(address, out IPEndPoint? found))
            return hasPort ? found : new(found.Address, DefaultPort);
        throw new ConfigException($"--dashboard {text}", why: "it wants an IP address, with a port or without",
            fix: "e.g. --dashboard 127.0.0.1:8088, [::1]:8088 or :8088");
    }

    internal static Uri ParseUrl(string text) => Uri.TryCreate(text, UriKind.Absolute, out Uri? url)
        && url.Scheme is "http" or "https" && url.Host.Length > 0 ? url
        : throw new ConfigException($"--otlp {text}", why: "it wants the URL of a collector",
            fix: string.Create(CultureInfo.InvariantCulture, $"e.g. --otlp http://localhost:{4318}"));
}
