using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;

namespace Dataplane.Apps;

/// <summary>What an application says to a command line it does not understand.</summary>
internal static class Usage
{
    /// <summary>Says what is wrong and where help is, not the help itself: that would push the error off the
    /// screen.</summary>
    /// <param name="result">With errors.</param>
    /// <param name="app">How the program is called.</param>
    /// <param name="error">Where to say it.</param>
    /// <returns>False where there is nothing wrong, and nothing was said.</returns>
    internal static bool Refuses(ParseResult result, string app, TextWriter error)
    {
        if (result.Action is not ParseErrorAction action)
            return false;
        action.ShowHelp = false;
        action.ShowTypoCorrections = true;
        result.Invoke(new InvocationConfiguration { Output = error, Error = error });
        string verbs = "";
        for (CommandResult? at = result.CommandResult; at?.Parent is CommandResult parent; at = parent)
            verbs = $" {at.Command.Name}{verbs}";
        error.WriteLine($"  fix: {app}{verbs} --help lists what there is");
        return true;
    }
}
