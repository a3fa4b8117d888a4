using Spectre.Console;

namespace Dataplane.Dpctl;

internal static class Program
{
    private static int Main(string[] args)
    {
        // Colours are for people: a pipe or a file gets plain text.
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = Console.IsOutputRedirected ? AnsiSupport.No : AnsiSupport.Detect,
        });
        return CommandLine.Run(args, new Host(), console, Console.Out, Console.Error);
    }
}
