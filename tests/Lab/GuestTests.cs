using System.Reflection;

namespace Dataplane.Tests;

/// <summary>The results of the guest tests on one machine. A class per machine, so that machines run beside each
/// other.</summary>
public abstract class GuestTests(ITestOutputHelper output)
{
    /// <summary>Every guest test that is for that machine.</summary>
    public static TheoryData<string> Rows(Machines machine)
    {
        var rows = new TheoryData<string>();
        foreach (Type type in typeof(GuestTests).Assembly.GetTypes().Where(type => !type.IsAbstract)
            .OrderBy(type => type.FullName, StringComparer.Ordinal))
        {
            if (((type.GetCustomAttribute<GuestAttribute>()?.Machines ?? Machines.None) & machine) == 0)
                continue;
            foreach (MethodInfo method in type.GetMethods()
                .Where(method => method.GetCustomAttribute<FactAttribute>() is { Explicit: false }
                    && NicContract.Runs(type, method.Name, machine)))
            {
                string test = $"{type.FullName}.{method.Name}";
                rows.Add(new TheoryDataRow<string>(test) { TestDisplayName = test, Label = machine.ToString() });
            }
        }
        return rows;
    }

    protected async Task ResultAsync(Machines machine, string test)
    {
        LabMachine configuration = LabMachine.ById(machine);
        LabRun.Require(configuration.Kernel);
        GuestResult result = await GuestRun.ResultAsync(configuration, test);
        if (result.Output.Length > 0)
            output.WriteLine(result.Output);
        Assert.SkipWhen(result.Skip != null, result.Skip ?? "");
        Assert.True(result.Failure == null, result.Failure);
    }
}

public sealed class Intel612GuestTests(ITestOutputHelper output) : GuestTests(output)
{
    [Theory]
    [MemberData(nameof(Rows), Machines.Intel612)]
    public Task Test(string test) => ResultAsync(Machines.Intel612, test);
}

public sealed class Intel72GuestTests(ITestOutputHelper output) : GuestTests(output)
{
    [Theory]
    [MemberData(nameof(Rows), Machines.Intel72)]
    public Task Test(string test) => ResultAsync(Machines.Intel72, test);
}

public sealed class Bare612GuestTests(ITestOutputHelper output) : GuestTests(output)
{
    [Theory]
    [MemberData(nameof(Rows), Machines.Bare612)]
    public Task Test(string test) => ResultAsync(Machines.Bare612, test);
}

public sealed class Bare72GuestTests(ITestOutputHelper output) : GuestTests(output)
{
    [Theory]
    [MemberData(nameof(Rows), Machines.Bare72)]
    public Task Test(string test) => ResultAsync(Machines.Bare72, test);
}

public sealed class NoRemappingGuestTests(ITestOutputHelper output) : GuestTests(output)
{
    [Theory]
    [MemberData(nameof(Rows), Machines.NoRemapping)]
    public Task Test(string test) => ResultAsync(Machines.NoRemapping, test);
}

public sealed class MultiQueueGuestTests(ITestOutputHelper output) : GuestTests(output)
{
    [Theory]
    [MemberData(nameof(Rows), Machines.MultiQueue)]
    public Task Test(string test) => ResultAsync(Machines.MultiQueue, test);
}

public sealed class DebianGuestTests(ITestOutputHelper output) : GuestTests(output)
{
    [Theory]
    [MemberData(nameof(Rows), Machines.Debian)]
    public Task Test(string test) => ResultAsync(Machines.Debian, test);
}
