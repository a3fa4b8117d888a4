using System.Reflection;

namespace Dataplane.Tests;

/// <summary>The results of the guest tests, machine by machine.</summary>
public sealed class GuestTests(ITestOutputHelper output)
{
    /// <summary>Every guest test on every machine it is for.</summary>
    public static TheoryData<string, string> Rows()
    {
        var rows = new TheoryData<string, string>();
        foreach (Type type in typeof(GuestTests).Assembly.GetTypes().Where(type => !type.IsAbstract)
            .OrderBy(type => type.FullName, StringComparer.Ordinal))
        {
            Machines machines = type.GetCustomAttribute<GuestAttribute>()?.Machines ?? Machines.None;
            foreach (MethodInfo method in type.GetMethods()
                .Where(method => method.GetCustomAttribute<FactAttribute>() is { Explicit: false }))
                foreach (LabMachine machine in LabMachine.All.Where(machine => (machine.Id & machines) != 0))
                {
                    string test = $"{type.FullName}.{method.Name}";
                    rows.Add(new TheoryDataRow<string, string>(machine.Name, test)
                        { TestDisplayName = test, Label = machine.Name });
                }
        }
        return rows;
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public async Task Guest(string machine, string test)
    {
        LabMachine configuration = LabMachine.ByName(machine);
        LabRun.Require(configuration.Kernel);
        GuestResult result = await GuestRun.ResultAsync(configuration, test);
        if (result.Output.Length > 0)
            output.WriteLine(result.Output);
        Assert.SkipWhen(result.Skip != null, result.Skip ?? "");
        Assert.True(result.Failure == null, result.Failure);
    }
}
