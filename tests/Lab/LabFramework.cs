using System.Reflection;
using Xunit.Sdk;
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

        protected override ValueTask<bool> FindTestsForMethod(IXunitTestMethod testMethod,
            ITestFrameworkDiscoveryOptions discoveryOptions, Func<ITestCase, ValueTask<bool>> discoveryCallback) =>
            Guest.Machine is { } machine
            && !NicContract.Runs(testMethod.TestClass.Class, testMethod.MethodName, machine.Id)
                ? new(true) : base.FindTestsForMethod(testMethod, discoveryOptions, discoveryCallback);
    }
}
