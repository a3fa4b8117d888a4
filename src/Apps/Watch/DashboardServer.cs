using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace Dataplane.Apps.Watch;

/// <summary>
/// Serves the page and its figures. Answers GET of four paths and nothing else. A loopback address serves those of
/// this machine who name it as such; any other takes a token: once in the page's address, then as a cookie.
/// </summary>
internal sealed class DashboardServer : IDisposable
{
    private const string CookieName = "dataplane-dashboard";
    private const int MaxConnections = 32;

    // Everything the page needs comes from here, and nobody else may frame it.
    private const string ContentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        + "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    private static readonly Dictionary<string, (string Type, byte[] Bytes)> s_pages = new(StringComparer.Ordinal)
    {
        ["/"] = ("text/html; charset=utf-8", Load("index.html")),
        ["/app.js"] = ("text/javascript; charset=utf-8", Load("app.js")),
        ["/style.css"] = ("text/css; charset=utf-8", Load("style.css")),
    };

    private readonly WebApplication _app;
    private readonly Eal _eal;
    private readonly IWatched _watched;
    private readonly byte[]? _token;
    private readonly bool _isLoopback;

    /// <summary>Listens when it returns.</summary>
    /// <param name="eal">Read.</param>
    /// <param name="address">Where to listen; port 0: any that is free.</param>
    /// <param name="watched">Read.</param>
    /// <param name="token">What to ask for; null: a random one where the address is no loopback one, else none.</param>
    /// <exception cref="ConfigException">The address is taken, or none of this machine's.</exception>
    public DashboardServer(Eal eal, IPEndPoint address, IWatched watched, string? token = null)
    {
        (_eal, _watched) = (eal, watched);
        _isLoopback = IPAddress.IsLoopback(address.Address);
        if (string.IsNullOrEmpty(token))
            token = _isLoopback ? null : Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
        _token = token == null ? null : Encoding.UTF8.GetBytes(token);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = MaxConnections;
            kestrel.Limits.MaxRequestBodySize = 0;
            kestrel.Limits.MaxRequestHeadersTotalSize = 8192;
            kestrel.Limits.MaxRequestLineSize = 2048;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(30);
            kestrel.Listen(address, listen =>
                listen.Protocols = Microsoft.AspNetCore.Server.Kestrel.Core.HttpProtocols.Http1);
        });
        _app = builder.Build();
        _app.Run(Serve);
        try
        {
            _app.StartAsync().GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            ((IDisposable)_app).Dispose();
            throw new ConfigException($"--dashboard {address}: cannot listen there", e.Message,
                "choose another address or port; port 0 takes any");
        }
        Url = _app.Urls.First() + "/" + (token == null ? "" : $"?token={Uri.EscapeDataString(token)}");
    }

    /// <summary>What to open in a browser.</summary>
    public string Url { get; }

    public void Dispose()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        _app.StopAsync(patience.Token).GetAwaiter().GetResult();
        ((IDisposable)_app).Dispose();
    }

    private Task Serve(HttpContext context)
    {
        HttpRequest request = context.Request;
        IHeaderDictionary headers = context.Response.Headers;
        headers.ContentSecurityPolicy = ContentPolicy;
        headers.XContentTypeOptions = "nosniff";
        headers.CacheControl = "no-store";
        headers["Referrer-Policy"] = "no-referrer";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        if (_isLoopback && !NamesThisMachine(request.Host.Host))
            return Refuse(context, StatusCodes.Status421MisdirectedRequest);   // another site's name for 127.0.0.1
        if (request.Method != HttpMethods.Get)
        {
            headers.Allow = "GET";
            return Refuse(context, StatusCodes.Status405MethodNotAllowed);
        }
        string path = request.Path.Value ?? "";
        if (path != "/api/state" && !s_pages.ContainsKey(path))
            return Refuse(context, StatusCodes.Status404NotFound);
        if (_token != null && path == "/" && request.Query.TryGetValue("token", out var given) && IsToken(given))
            return Welcome(context, given!);
        if (_token != null && !IsToken(request.Cookies[CookieName]) && !IsToken(Bearer(request)))
            return Refuse(context, StatusCodes.Status401Unauthorized);
        if (request.QueryString.HasValue && path != "/")
            return Refuse(context, StatusCodes.Status400BadRequest);
        (string type, byte[] body) = path == "/api/state"
            ? ("application/json", DashboardState.Write(_eal, _watched)) : s_pages[path];
        context.Response.ContentType = type;
        context.Response.ContentLength = body.Length;
        return context.Response.Body.WriteAsync(body).AsTask();
    }

    // The token goes out of the address bar, and of what is copied from it.
    private static Task Welcome(HttpContext context, string token)
    {
        context.Response.Cookies.Append(CookieName, token, new CookieOptions
        {
            HttpOnly = true, SameSite = SameSiteMode.Strict, Path = "/",
        });
        context.Response.Redirect("/");
        return Task.CompletedTask;
    }

    private static Task Refuse(HttpContext context, int status)
    {
        context.Response.StatusCode = status;
        return Task.CompletedTask;
    }

    private bool IsToken(string? given) =>
        given != null && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(given), _token);

    private static string? Bearer(HttpRequest request) =>
        request.Headers.Authorization.ToString() is var header
        && header.StartsWith("Bearer ", StringComparison.Ordinal) ? header["Bearer ".Length..] : null;

    private static bool NamesThisMachine(string host) => host == "localhost"
        || (IPAddress.TryParse(host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address));

    private static byte[] Load(string name)
    {
        using Stream stream = typeof(DashboardServer).Assembly.GetManifestResourceStream(name)!;
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
