using Microsoft.Extensions.Configuration;

namespace Dataplane;

public sealed partial record EalOptions
{
    /// <summary>
    /// Reads a configuration section, e.g. <c>"Dataplane"</c> of an appsettings.json. Keys are this type's property
    /// names, values what the command line takes: <c>"Lcores": "0-3"</c>, <c>"NumaMemoryMb": [512, 0]</c>,
    /// <c>"Vdevs": ["net_null0"]</c>, <c>"NoPci": true</c>, and levels as .NET writes them:
    /// <c>"LogLevel": { "Default": "info", "pmd.*": "debug" }</c>. <see cref="Parse"/> can lay a command line over
    /// the result.
    /// </summary>
    /// <param name="section">The section; an empty or absent one gives the defaults.</param>
    /// <exception cref="ConfigException">An unknown key or a malformed or contradictory value; the message has its
    /// path.</exception>
    public static EalOptions FromConfiguration(IConfigurationSection section)
    {
        var options = new EalOptions();
        foreach (IConfigurationSection entry in section.GetChildren())
        {
            OptionDefinition option = OptionTable.All.FirstOrDefault(known => SameKey(known.Key, entry.Key))
                ?? throw new ConfigException($"{entry.Path}: there is no such option",
                    fix: Nearest.Advice(entry.Key, OptionTable.All.Select(known => known.Key))
                        ?? "the keys are " + string.Join(", ", OptionTable.All.Select(known => known.Key)));
            foreach (string value in Values(entry, option))
                options = option.Apply(options, entry.Path, value);
        }
        options.Validate();
        return options;
    }

    private static IEnumerable<string> Values(IConfigurationSection entry, OptionDefinition option)
    {
        if (entry.Value != null)
            return [entry.Value];
        IConfigurationSection[] parts = entry.GetChildren().ToArray();
        if (option.Key == nameof(LogLevel))
            return parts.Select(part => int.TryParse(part.Key, out _) || SameKey(part.Key, "Default")
                ? Text(part) : $"{part.Key}:{Text(part)}");
        return option.IsRepeatable ? parts.Select(Text)
            : parts.Length > 0 ? [string.Join(',', parts.Select(Text))] : [];
    }

    private static string Text(IConfigurationSection part) =>
        part.Value ?? throw new ConfigException($"{part.Path}: a text or a number is wanted, not a section or null");

    private static bool SameKey(string a, string b) => string.Equals(a, b, StringComparison.OrdinalIgnoreCase);
}
