using System.Text.Json;
using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl doctor</c>.</summary>
internal static class DoctorCommand
{
    /// <summary>Every check, in the order shown.</summary>
    internal static IEnumerable<Finding> Examine(Host host) =>
    [
        .. MemoryChecks.Hugepages(host), MemoryChecks.Memlock(host), MemoryChecks.TransparentHugepages(host),
        CpuChecks.Count(host), CpuChecks.Isolation(host), CpuChecks.Ticks(host), CpuChecks.Interrupts(host),
        CpuChecks.Governor(host), CpuChecks.Smt(host), QuotaCheck.Quota(host),
        .. DmaChecks.All(host), DeviceChecks.HugetlbMount(host), DeviceChecks.Tap(host),
        DeviceChecks.PacketSockets(host),
    ];

    /// <summary>Prints the findings, as JSON where <paramref name="json"/> is given.</summary>
    internal static int Run(Host host, IAnsiConsole console, TextWriter? json)
    {
        Finding[] findings = Examine(host).ToArray();
        Status worst = findings.Max(finding => finding.Status);
        if (json != null)
            json.WriteLine(JsonSerializer.Serialize(new DoctorReport(worst, findings), DpctlJson.Default.DoctorReport));
        else
            Print(findings, console);
        return worst switch { Status.Ok => CommandLine.Ok, Status.Warn => CommandLine.Warnings,
            _ => CommandLine.Failed };
    }

    private static void Print(Finding[] findings, IAnsiConsole console)
    {
        foreach (Finding finding in findings)
        {
            string colour = finding.Status switch { Status.Ok => "green", Status.Warn => "yellow", _ => "red" };
            string status = finding.Status.ToString().ToLowerInvariant();
            console.MarkupLineInterpolated($"[{colour}]{status,-4}[/]  {finding.Check,-10}  {finding.Text}");
            if (finding.Fix != null)
                console.WriteLine("                  fix: " + finding.Fix);
        }
        int Count(Status status) => findings.Count(finding => finding.Status == status);
        console.WriteLine($"{Count(Status.Ok)} ok, {Count(Status.Warn)} to warn of, {Count(Status.Fail)} failed");
    }
}
