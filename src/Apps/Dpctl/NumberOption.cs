using System.CommandLine;
using System.Globalization;

namespace Dataplane.Dpctl;

/// <summary>Options whose value is a number within limits.</summary>
internal static class NumberOption
{
    /// <summary>A whole number.</summary>
    internal static Option<int> Whole(string name, string help, int fallback, int min, int max, string unit = "N",
        params string[] aliases)
    {
        var option = new Option<int>(name, aliases) { Description = help, HelpName = unit,
            DefaultValueFactory = _ => fallback };
        Limit(option, min, max);
        return option;
    }

    /// <summary>A whole number, or null where none is given.</summary>
    internal static Option<int?> WholeOrNone(string name, string help, int min, string unit = "N")
    {
        var option = new Option<int?>(name) { Description = help, HelpName = unit };
        Limit(option, min, int.MaxValue);
        return option;
    }

    /// <summary>A number with a point and without thousands separators: 0,5 would be read as 5.</summary>
    internal static Option<double> Number(string name, string help, double fallback, double min, double max,
        string unit = "N", params string[] aliases)
    {
        var option = new Option<double>(name, aliases) { Description = help, HelpName = unit,
            DefaultValueFactory = _ => fallback };
        option.Validators.Add(result =>
        {
            string? text = result.Tokens.SingleOrDefault()?.Value;
            if (text != null && !(double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture,
                out double value) && value >= min && value <= max))
                result.AddError(string.Create(CultureInfo.InvariantCulture,
                    $"{name} wants {min} to {max}, such as 0.5, not {text}"));
        });
        return option;
    }

    // What is no number at all the parser tells itself.
    private static void Limit(Option option, int min, int max) => option.Validators.Add(result =>
    {
        if (int.TryParse(result.Tokens.SingleOrDefault()?.Value, out int value) && (value < min || value > max))
            result.AddError($"{option.Name} wants {min} to {max}, not {value}");
    });
}
