using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Dataplane.Dpctl;

/// <summary>An application that answers, as it introduced itself.</summary>
/// <param name="Prefix">Its file prefix.</param>
/// <param name="Path">Its socket.</param>
/// <param name="Pid">Its process.</param>
/// <param name="Version">What it is: <c>Dataplane 0.1.0</c>, <c>DPDK 22.11.3</c>.</param>
internal sealed record RunningApp(string Prefix, string Path, int Pid, string Version)
{
    private const string SocketName = "dpdk_telemetry.v2";

    /// <summary>Its prefix, with <c>:1</c>, <c>:2</c>, ... behind it where others had that before.</summary>
    internal string Name => Prefix + (IsSocket(Path)
        ? System.IO.Path.GetFileName(Path)[SocketName.Length..] : "");

    internal static bool IsSocket(string path) =>
        System.IO.Path.GetFileName(path).StartsWith(SocketName, StringComparison.Ordinal);
}

/// <summary>Asks a running application by DPDK's telemetry protocol, version 2: one datagram there, one back.</summary>
internal sealed class TelemetryClient : IDisposable
{
    private const int GreetingBytes = 1024, PatienceMs = 10_000;

    private readonly Socket _socket;
    private readonly byte[] _answer;

    private TelemetryClient(Socket socket, RunningApp app, int most)
    {
        (_socket, App) = (socket, app);
        _answer = new byte[most];
    }

    internal RunningApp App { get; }

    /// <summary>How long an answer may take.</summary>
    internal int PatienceMilliseconds
    {
        set => _socket.ReceiveTimeout = value;
    }

    /// <summary>The applications of this user that answer, by prefix and then by age.</summary>
    internal static IReadOnlyList<RunningApp> FindAll()
    {
        string root = System.IO.Path.GetDirectoryName(TelemetrySocket.RuntimeDirectory("any"))!;
        var found = new List<RunningApp>();
        foreach (string folder in Entries(root, Directory.EnumerateDirectories))
            foreach (string path in Entries(folder, Directory.EnumerateFileSystemEntries))
            {
                if (!RunningApp.IsSocket(path))
                    continue;
                using TelemetryClient? client = TryConnect(System.IO.Path.GetFileName(folder), path);
                if (client != null)
                    found.Add(client.App);
            }
        return [.. found.OrderBy(app => app.Prefix, StringComparer.Ordinal).ThenBy(app => app.Path.Length)
            .ThenBy(app => app.Path, StringComparer.Ordinal)];
    }

    /// <summary>Connects to the one application there is, or to that which was named.</summary>
    /// <param name="prefix">Its file prefix, null for any.</param>
    /// <param name="pid">Its process, null for any.</param>
    /// <exception cref="DataplaneException">There is none, or there are several.</exception>
    internal static TelemetryClient Connect(string? prefix, int? pid)
    {
        IReadOnlyList<RunningApp> all = FindAll();
        RunningApp[] apps = [.. all.Where(app => (prefix == null || prefix == app.Prefix || prefix == app.Name)
            && (pid == null || app.Pid == pid))];
        if (apps.Length == 1 && TryConnect(apps[0].Prefix, apps[0].Path) is { } client)
            return client;
        string root = System.IO.Path.GetDirectoryName(TelemetrySocket.RuntimeDirectory("any"))!;
        if (apps.Length <= 1)
            throw new DataplaneException(prefix == null && pid == null ? "no application is running"
                : "there is no such application", all.Count == 0 ? $"nobody answers in {root}"
                : "there are " + string.Join(", ", all.Select(Name)), all.Count > 0 ? null : "run this as the user who "
                + "runs it; one started with --no-telemetry or --in-memory has no socket", "docs/telemetry.md");
        throw new DataplaneException("there are several applications", string.Join('\n', apps.Select(app =>
            "  " + Name(app)).Prepend("")), "say which: --file-prefix NAME or --pid N");
    }

    /// <summary>Asks; throws where nobody is there any more.</summary>
    /// <returns>What is behind the command in the answer; null where it has no such command, or nothing to
    /// say.</returns>
    /// <exception cref="TelemetryEndedException">The application has ended.</exception>
    /// <exception cref="DataplaneException">It does not answer, or not by the protocol.</exception>
    internal JsonElement? Ask(string command)
    {
        try
        {
            _socket.Send(Encoding.ASCII.GetBytes(command));
            int length = _socket.Receive(_answer);
            if (length == 0)
                throw new TelemetryEndedException(App, null);
            JsonElement answer = Parse(_answer.AsSpan(0, length)).EnumerateObject().First().Value;
            return answer.ValueKind == JsonValueKind.Null ? null : answer;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.TimedOut)
        {
            throw new DataplaneException($"{Name(App)} does not answer",
                $"nothing came for {_socket.ReceiveTimeout / 1e3} s", errno: Errno.ETIMEDOUT, inner: e);
        }
        catch (SocketException e)
        {
            throw new TelemetryEndedException(App, e);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new DataplaneException($"{Name(App)} answers {command} with what is no telemetry", e.Message);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    /// <summary>Connects to a socket and takes its greeting.</summary>
    /// <returns>Null where nobody answers, or not like that.</returns>
    internal static TelemetryClient? TryConnect(string prefix, string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified)
        {
            ReceiveTimeout = PatienceMs,
            SendTimeout = PatienceMs,
        };
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            byte[] greeting = new byte[GreetingBytes];
            JsonElement info = Parse(greeting.AsSpan(0, socket.Receive(greeting)));
            var app = new RunningApp(prefix, path, info.GetProperty("pid").GetInt32(),
                JsonReads.Printable(info.GetProperty("version").GetString() ?? ""));
            // Whatever it says, an answer is no more than this protocol can carry.
            int most = Math.Clamp(info.GetProperty("max_output_len").GetInt32(), 1024, 1 << 20);
            return new TelemetryClient(socket, app, most);
        }
        catch (Exception e) when (e is SocketException or JsonException or InvalidOperationException or FormatException
            or KeyNotFoundException or ArgumentException)
        {
            socket.Dispose();
            return null;
        }
    }

    /// <summary>For people: what it is called and how to name it.</summary>
    internal static string Name(RunningApp app)
    {
        string command = "";
        try
        {
            string[] words = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{app.Pid}/cmdline"))
                .TrimEnd('\0').Split('\0');
            string program = System.IO.Path.GetFileNameWithoutExtension(words[0]) == "dotnet" && words.Length > 1
                ? words[1] : words[0];
            command = System.IO.Path.GetFileNameWithoutExtension(program) + ", ";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
        return $"{app.Name}: {command}pid {app.Pid}, {app.Version}";
    }

    private static JsonElement Parse(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        return JsonElement.ParseValue(ref reader);
    }

    private static string[] Entries(string folder, Func<string, IEnumerable<string>> list)
    {
        try
        {
            return [.. list(folder)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}

/// <summary>The application at the other end has ended.</summary>
internal sealed class TelemetryEndedException(RunningApp app, Exception? inner) : DataplaneException(
    $"{app.Prefix} (pid {app.Pid}) has ended", inner?.Message, inner: inner);

/// <summary>Reads of an answer, whatever it is.</summary>
internal static class JsonReads
{
    /// <summary>What has that name; null where nothing has.</summary>
    internal static JsonElement? Get(this JsonElement? element, string name) =>
        element is { ValueKind: JsonValueKind.Object } all && all.TryGetProperty(name, out JsonElement value) ? value
            : null;

    /// <summary>A number by its name; 0 where there is none.</summary>
    internal static ulong Number(this JsonElement? element, string name) =>
        element.Get(name) is { ValueKind: JsonValueKind.Number } value && value.TryGetUInt64(out ulong number) ? number
            : 0;

    /// <summary>A text by its name; null where there is none.</summary>
    internal static string? Text(this JsonElement? element, string name) =>
        element.Get(name) is { ValueKind: JsonValueKind.String } value ? Printable(value.GetString()!) : null;

    /// <summary>The elements of an array by its name, or of this; empty where it is none.</summary>
    internal static IReadOnlyList<JsonElement> List(this JsonElement? element, string? name = null) =>
        (name == null ? element : element.Get(name)) is { ValueKind: JsonValueKind.Array } array
            ? [.. array.EnumerateArray()] : [];

    /// <summary>The texts of an array by its name, or of this.</summary>
    internal static string[] Texts(this JsonElement? element, string? name = null) => [.. element.List(name)
        .Where(one => one.ValueKind == JsonValueKind.String).Select(one => Printable(one.GetString()!))];

    /// <summary>A text without what a terminal would obey.</summary>
    internal static string Printable(string text) =>
        text.Any(char.IsControl) ? string.Concat(text.Where(c => !char.IsControl(c))) : text;

    /// <summary>The numbers of an array by its name.</summary>
    internal static long[] Numbers(this JsonElement? element, string? name = null) => [.. element.List(name)
        .Select(one => one.ValueKind == JsonValueKind.Number && one.TryGetInt64(out long number) ? number : 0)];
}
