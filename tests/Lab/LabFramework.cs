using System.Reflection;
using Xunit.v3;

[assembly: TestFramework(typeof(Dataplane.Tests.LabFramework))]

namespace Dataplane.Tests;

/// <summary>xUnit's own framework, but for which classes it sees: inside a machine those of that machine, outside all
/// others.</summary>
public sealed class LabFramework : XunitTestFramework
{
    protected override ITestFrameworkDiscoverer CreateDiscoverer(Assembly assembly) =>
        new Discoverer(new XunitTestAssembly(assembly));

    private sealed class Discoverer(IXunitTestAssembly assembly) : XunitTestFrameworkDiscoverer(assembly)
    {
        protected override bool IsValidTestClass(Type type)
        {
            Machines wanted = type.GetCustomAttribute<GuestAttribute>()?.Machines ?? Machines.None;
            return base.IsValidTestClass(type)
                && (Guest.Machine is { } machine ? (wanted & machine.Id) != 0 : wanted == Machines.None);
        }
    }
}
