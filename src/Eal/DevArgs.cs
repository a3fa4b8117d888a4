using System.Globalization;

namespace Dataplane;

/// <summary>A device as the user names it: <c>net_null0,size=64,copy=1</c> or <c>0000:3b:00.0,key=value</c>.</summary>
public sealed class DevArgs
{
    private readonly List<KeyValuePair<string, string>> _pairs = [];
    private readonly HashSet<string> _used = [];

    private DevArgs(string text, string name)
    {
        Text = text;
        Name = name;
    }

    /// <summary>The whole text.</summary>
    public string Text { get; }

    /// <summary>The device's name, before the first comma.</summary>
    public string Name { get; }

    /// <summary>Keys and values in the order given; a key may come more than once.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Pairs => _pairs;

    /// <summary>Parses a device's text. Commas inside <c>[...]</c> belong to the value: <c>rss=[0,2]</c>.</summary>
    /// <exception cref="ConfigException">Empty name, or a part that is not <c>key=value</c>.</exception>
    public static DevArgs Parse(string text)
    {
        List<string> parts = Split(text);
        if (parts[0].Length == 0 || parts[0].Contains('='))
            throw new ConfigException($"device '{text}' has no name",
                fix: "write NAME[,key=value...], e.g. net_null0,size=64");
        var args = new DevArgs(text, parts[0]);
        foreach (string part in parts.Skip(1))
        {
            int equals = part.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                throw new ConfigException($"device '{args.Name}': '{part}' is not key=value");
            args._pairs.Add(new(part[..equals].Trim(), part[(equals + 1)..].Trim()));
        }
        return args;
    }

    /// <summary>All values of a key, in order.</summary>
    public IEnumerable<string> GetAll(string key)
    {
        _used.Add(key);
        return _pairs.Where(pair => pair.Key == key).Select(pair => pair.Value);
    }

    /// <summary>The last value of a key, or <paramref name="fallback"/>.</summary>
    public string? GetString(string key, string? fallback = null) => GetAll(key).LastOrDefault() ?? fallback;

    /// <summary>The last value of a key as a number, decimal or 0x hexadecimal.</summary>
    /// <exception cref="ConfigException">No number, or outside <paramref name="min"/>..<paramref
    /// name="max"/>.</exception>
    public long GetNumber(string key, long fallback, long min = 0, long max = int.MaxValue)
    {
        string? value = GetString(key);
        if (value == null)
            return fallback;
        bool ok = value.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? long.TryParse(value.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out long number)
            : long.TryParse(value, CultureInfo.InvariantCulture, out number);
        if (!ok || number < min || number > max)
            throw new ConfigException($"device '{Name}': {key}={value} is not a number from {min} to {max}");
        return number;
    }

    /// <summary>The last value of a key as 0 or 1.</summary>
    /// <exception cref="ConfigException">Anything else.</exception>
    public bool GetFlag(string key, bool fallback = false) => GetNumber(key, fallback ? 1 : 0, 0, 1) != 0;

    /// <summary>Call after the last Get: refuses keys nobody asked for.</summary>
    /// <exception cref="ConfigException">An unknown key; the message lists the known ones.</exception>
    public void ThrowIfUnused()
    {
        foreach ((string key, _) in _pairs)
            if (!_used.Contains(key))
                throw new ConfigException($"device '{Name}' has no argument '{key}'", Nearest.Advice(key, _used),
                    _used.Count == 0 ? "it takes none" : "it takes " + string.Join(", ", _used.Order()));
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    private static List<string> Split(string text)
    {
        var parts = new List<string>();
        int start = 0, depth = 0;
        for (int i = 0; i < text.Length; i++)
        {
            depth += text[i] switch { '[' => 1, ']' => -1, _ => 0 };
            if (depth < 0)
                break;
            if (text[i] != ',' || depth > 0)
                continue;
            parts.Add(text[start..i].Trim());
            start = i + 1;
        }
        if (depth != 0)
            throw new ConfigException($"device '{text}': '[' and ']' do not pair");
        parts.Add(text[start..].Trim());
        return parts;
    }
}
