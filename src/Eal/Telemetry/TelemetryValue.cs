using System.Collections;
using System.Globalization;
using System.Text;

namespace Dataplane;

/// <summary>
/// What a telemetry command answers: text, an array or a dictionary; null stands for "no answer". Limits are DPDK's:
/// what goes beyond them is cut off or left out, so that an answer is always whole JSON. One thread.
/// </summary>
public abstract class TelemetryValue
{
    /// <summary>The most bytes of a whole answer.</summary>
    public const int MaxOutputBytes = 16384;

    /// <summary>The most characters of an answer that is one text.</summary>
    public const int MaxTextLength = 8191;

    /// <summary>The most characters of a text, or a name, in an array or a dictionary.</summary>
    public const int MaxStringLength = 127;

    private protected TelemetryValue()
    {
    }

    /// <summary>An answer that is one text.</summary>
    /// <param name="text">Cut off after <see cref="MaxTextLength"/> characters.</param>
    public static TelemetryValue Text(string text) => new TelemetryText(Quote(text, MaxTextLength));

    /// <summary>JSON of at most so many characters, all ASCII; entries that do not fit are left out.</summary>
    internal abstract string ToJson(int most);

    /// <summary>A JSON string.</summary>
    internal static string Quote(string text, int most)
    {
        var quoted = new StringBuilder(text.Length + 2).Append('"');
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, most)))
        {
            if (c is '"' or '\\')
                quoted.Append('\\').Append(c);
            else if (c is >= ' ' and <= '~')
                quoted.Append(c);
            else
                quoted.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
        }
        return quoted.Append('"').ToString();
    }

    private protected static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    private protected static string Number(ulong value) => value.ToString(CultureInfo.InvariantCulture);

    private protected static string Join(char open, char close, IEnumerable<(string Key, object Value)> entries,
        int most)
    {
        if (most < 2)
            return "";
        var json = new StringBuilder().Append(open);
        foreach ((string key, object value) in entries)
        {
            int left = most - json.Length - key.Length - 2;   // a comma, the closing bracket
            string text = value as string ?? ((TelemetryValue)value).ToJson(Math.Max(left, 0));
            if (text.Length == 0 || text.Length > left)
                continue;
            if (json.Length > 1)
                json.Append(',');
            json.Append(key).Append(text);
        }
        return json.Append(close).ToString();
    }
}

internal sealed class TelemetryText(string json) : TelemetryValue
{
    internal override string ToJson(int most) => json.Length <= most ? json : "";
}

/// <summary>An array for a telemetry answer.</summary>
public sealed class TelemetryArray : TelemetryValue, IEnumerable
{
    /// <summary>The most entries.</summary>
    public const int MaxEntries = 512;

    private readonly List<(string, object)> _entries = [];

    /// <summary>Adds a number.</summary>
    /// <returns>False when there is no room.</returns>
    public bool Add(long value) => Put(Number(value));

    /// <inheritdoc cref="Add(long)"/>
    public bool Add(ulong value) => Put(Number(value));

    /// <summary>Adds a text, cut off after <see cref="TelemetryValue.MaxStringLength"/> characters.</summary>
    /// <returns>False when there is no room.</returns>
    public bool Add(string value) => Put(Quote(value, MaxStringLength));

    /// <summary>Adds an array or a dictionary.</summary>
    /// <returns>False when there is no room.</returns>
    public bool Add(TelemetryValue value) => Put(value);

    IEnumerator IEnumerable.GetEnumerator() => _entries.GetEnumerator();

    internal override string ToJson(int most) => Join('[', ']', _entries, most);

    private bool Put(object value)
    {
        if (_entries.Count == MaxEntries)
            return false;
        _entries.Add(("", value));
        return true;
    }
}

/// <summary>A dictionary for a telemetry answer; keeps the order of its entries.</summary>
public sealed class TelemetryDict : TelemetryValue, IEnumerable
{
    /// <summary>The most entries.</summary>
    public const int MaxEntries = 256;

    private readonly List<(string, object)> _entries = [];

    /// <summary>Adds a number.</summary>
    /// <returns>False when there is no room.</returns>
    public bool Add(string name, long value) => Put(name, Number(value));

    /// <inheritdoc cref="Add(string, long)"/>
    public bool Add(string name, ulong value) => Put(name, Number(value));

    /// <summary>Adds a text, cut off after <see cref="TelemetryValue.MaxStringLength"/> characters.</summary>
    /// <returns>False when there is no room.</returns>
    public bool Add(string name, string value) => Put(name, Quote(value, MaxStringLength));

    /// <summary>Adds an array or a dictionary.</summary>
    /// <returns>False when there is no room.</returns>
    public bool Add(string name, TelemetryValue value) => Put(name, value);

    /// <summary>Adds a number as the text <c>0x...</c>, which is how masks and registers go.</summary>
    /// <returns>False when there is no room.</returns>
    public bool AddHex(string name, ulong value) =>
        Add(name, string.Create(CultureInfo.InvariantCulture, $"0x{value:x}"));

    IEnumerator IEnumerable.GetEnumerator() => _entries.GetEnumerator();

    internal override string ToJson(int most) => Join('{', '}', _entries, most);

    private bool Put(string name, object value)
    {
        if (_entries.Count == MaxEntries)
            return false;
        _entries.Add((Quote(name, MaxStringLength) + ":", value));
        return true;
    }
}
