using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Dpctl as a user runs it on this machine, whatever it is.</summary>
public sealed class DpctlAppTests
{
    [Theory]
    [InlineData("doctor")]
    [InlineData("hugepages", "show")]
    [InlineData("ports")]
    [InlineData("status")]
    public void Dpctl_Verbs_PrintTextAndJson(params string[] verb)
    {
        AppResult text = AppProcess.Run("Dpctl", verb), json = AppProcess.Run("Dpctl", [.. verb, "--json"]);
        Assert.True(text.Exit == 0 || verb[0] == "doctor", text.All);
        Assert.InRange(text.Exit, 0, 2);
        Assert.Equal(text.Exit, json.Exit);
        Assert.NotEmpty(text.Output);
        Assert.Empty(text.Errors);
        JsonDocument.Parse(json.Output).Dispose();
    }

    [Theory]
    [InlineData("--help", 0)]
    [InlineData("docter", 2)]
    [InlineData("hugepages set -1", 2)]
    [InlineData("hugepages set 1 --size 3M", 2)]
    [InlineData("bind", 2)]
    [InlineData("bind ffff:ff:1f.7 --dry-run", 2)]
    [InlineData("unbind no-such-interface", 2)]
    public void Dpctl_ExitCodes_AreAsItsHelpSays(string arguments, int exit)
    {
        AppResult result = AppProcess.Run("Dpctl", arguments.Split(' '));
        Assert.True(result.Exit == exit, result.All);
        Assert.DoesNotContain("   at ", result.Errors, StringComparison.Ordinal);
        Assert.Equal(exit == 0, result.Errors.Length == 0);
    }
}
