using System.Globalization;

namespace Dataplane;

/// <summary>
/// Reads DPDK's part of a command line: <c>--name value</c>, <c>--name=value</c>, <c>-n value</c>, <c>-nvalue</c>,
/// flags glued together (<c>-vh</c>); <c>--</c> ends it.
/// </summary>
internal sealed class OptionParser(string[] args, EalOptions defaults)
{
    private readonly Dictionary<OptionDefinition, string> _seen = [];
    private EalOptions _options = defaults;
    private int _at;

    internal EalOptions Parse(out string[] applicationArgs)
    {
        applicationArgs = [];
        while (_at < args.Length)
        {
            string arg = args[_at++];
            if (arg == "--")
            {
                applicationArgs = args[_at..];
                break;
            }
            if (arg.StartsWith("--", StringComparison.Ordinal))
                ReadLong(arg);
            else if (arg.Length > 1 && arg[0] == '-')
                ReadShort(arg);
            else
                throw new ConfigException($"'{arg}' is not an option",
                    fix: "the application's own arguments come after '--'");
        }
        return _options;
    }

    private void ReadLong(string arg)
    {
        int equals = arg.IndexOf('=', StringComparison.Ordinal);
        string name = equals < 0 ? arg : arg[..equals];
        OptionDefinition option = OptionTable.Find(name)
            ?? throw Unknown(name, equals < 0 ? null : arg[(equals + 1)..]);
        if (equals < 0)
            Apply(option, name, option.Value == null ? "true" : NextValue(option, name));
        else if (option.Value != null)
            Apply(option, name, arg[(equals + 1)..]);
        else
            throw new ConfigException($"{name} takes no value, '{arg}' gives it one", fix: $"write {name}");
    }

    private void ReadShort(string arg)
    {
        if (OptionTable.Find("-" + arg) != null)
            throw Unknown(arg, null);   // -vdev, not -v -d -e -v
        for (int i = 1; i < arg.Length; i++)
        {
            string name = "-" + arg[i];
            string rest = arg[(i + 1)..];
            OptionDefinition option = OptionTable.Find(name) ?? throw Unknown(name, rest.Length == 0 ? null : rest);
            if (option.Value == null)
            {
                Apply(option, name, "true");
                continue;
            }
            Apply(option, name, rest.Length > 0 ? rest.TrimStart('=') : NextValue(option, name));
            return;
        }
    }

    private string NextValue(OptionDefinition option, string name)
    {
        if (_at >= args.Length)
            throw new ConfigException($"{name} wants {option.Value}, and nothing follows it");
        if (args[_at].StartsWith('-'))
            throw new ConfigException($"{name} wants {option.Value}, and '{args[_at]}' follows it");
        return args[_at++];
    }

    private void Apply(OptionDefinition option, string name, string value)
    {
        if (value.Length == 0)
            throw new ConfigException($"{name} wants {option.Value}, and its value is empty");
        if (_seen.TryAdd(option, value))
            _options = option.Clear(_options);
        else if (!option.IsRepeatable && option.Value != null)
            throw new ConfigException($"{name} is given twice, with '{_seen[option]}' and '{value}'",
                fix: "give it once");
        _options = option.Apply(_options, name, value);
    }

    private ConfigException Unknown(string name, string? value)
    {
        if (OptionTable.Elsewhere.TryGetValue(name, out string? instead))
            return new($"{name} is an option of DPDK that Dataplane does not have",
                fix: instead + LcoresOfMask(name, value));
        string? near = Nearest.Find(name, OptionTable.All.SelectMany(option => option.Names).Where(n => n.Length > 2));
        return new ConfigException($"there is no option {name}",
            fix: near != null ? $"did you mean {near}? Options of the application come after '--'"
                : "options of the application come after '--'; -h lists those before it");
    }

    /// <summary>The list that says what a coremask says, where the value is one.</summary>
    private string LcoresOfMask(string name, string? value)
    {
        if (name is not ("-c" or "-s" or "--coremask" or "--service-coremask"))
            return "";
        string digits = (value ?? (_at < args.Length ? args[_at] : "")).TrimStart('=');
        if (digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
            digits = digits[2..];
        if (!ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, null, out ulong mask) || mask == 0)
            return "";
        return " " + CpuSet.FromWords([mask]);
    }
}
