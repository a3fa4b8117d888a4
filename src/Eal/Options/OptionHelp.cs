using System.Text;

namespace Dataplane;

/// <summary>The text of <c>-h</c>.</summary>
internal static class OptionHelp
{
    private const int Indent = 30, Width = 100;

    internal static string Text { get; } = Write();

    private static string Write()
    {
        var text = new StringBuilder();
        text.Append("Usage: application [options of the environment] [-- options of the application]\n");
        string group = "";
        foreach (OptionDefinition option in OptionTable.All)
        {
            if (option.Group != group)
                text.Append('\n').Append(group = option.Group).Append(":\n");
            string names = "  " + string.Join(", ", option.Names) + (option.Value == null ? "" : " " + option.Value);
            text.Append(names);
            int column = names.Length;
            if (column > Indent - 2)
            {
                text.Append('\n');
                column = 0;
            }
            foreach (string line in Wrap(option.Help))
            {
                text.Append(' ', Indent - column).Append(line).Append('\n');
                column = 0;
            }
        }
        return text.Append("\nExamples:\n"
            + "  -l 0-3 -m 512                        four lcores, 512 MB of hugepages\n"
            + "  --no-huge --vdev net_null0 -- ...    no privileges and no NIC: the null driver\n"
            + "  -l 2@4,3@5 -a 0000:3b:00.0 -- ...    lcores 2 and 3 on CPUs 4 and 5, one NIC\n"
            + "'dpctl doctor' says what this machine lacks.\n").ToString();
    }

    private static IEnumerable<string> Wrap(string help)
    {
        string line = "";
        foreach (string word in help.Split(' '))
        {
            if (Indent + line.Length + 1 + word.Length > Width)
            {
                yield return line;
                line = "";
            }
            line += line.Length == 0 ? word : " " + word;
        }
        yield return line;
    }
}
