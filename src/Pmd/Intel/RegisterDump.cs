using System.Diagnostics.CodeAnalysis;
using System.Reflection;

namespace Dataplane.Pmd;

/// <summary>All registers of a list by name. Those that reading changes (RcReg32, semaphores) are left out.</summary>
internal static class RegisterDump
{
    private const DynamicallyAccessedMemberTypes Members =
        DynamicallyAccessedMemberTypes.NonPublicProperties | DynamicallyAccessedMemberTypes.NonPublicMethods;

    /// <summary>Reads them.</summary>
    /// <param name="list">A class of properties, and of methods with a number for those there are several of.</param>
    /// <param name="registers">BAR 0.</param>
    /// <param name="queues">How many of each of the latter to show.</param>
    /// <param name="values">Where to.</param>
    internal static void Add([DynamicallyAccessedMembers(Members)] Type list, Mmio registers, int queues,
        List<RegisterValue> values)
    {
        const BindingFlags Flags = BindingFlags.Static | BindingFlags.NonPublic;
        foreach (PropertyInfo property in list.GetProperties(Flags))
            if (property.GetValue(null) is RwReg32 register && register != IntelRegs.Swsm)
                values.Add(new(property.Name, register.Offset, registers.Read(register)));
        foreach (MethodInfo method in list.GetMethods(Flags))
            for (int i = 0; i < queues && method.GetParameters().Length == 1; i++)
                if (method.Invoke(null, [i]) is RwReg32 register)
                    values.Add(new($"{method.Name}{i}", register.Offset, registers.Read(register)));
    }
}
