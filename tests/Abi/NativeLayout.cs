using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Tests;

/// <summary>One field of an explicit-layout struct.</summary>
internal sealed record NativeField(string Name, int Offset, int Size);

/// <summary>What the compiler made of our explicit-layout structs, by reflection; private ones too.</summary>
internal static class NativeLayout
{
    private static readonly MethodInfo s_sizeOf = typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!;

    /// <summary>The library assemblies beside this test.</summary>
    public static IReadOnlyList<Assembly> Libraries { get; } = Directory
        .GetFiles(AppContext.BaseDirectory, "Dataplane.*.dll")
        .Select(Path.GetFileNameWithoutExtension)
        .Where(name => !name!.StartsWith("Dataplane.Tests", StringComparison.Ordinal))
        .Order(StringComparer.Ordinal)
        .Select(name => Assembly.Load(name!))
        .ToArray();

    /// <summary>All explicit-layout structs of the libraries.</summary>
    public static IReadOnlyList<Type> ExplicitStructs { get; } = Libraries.SelectMany(assembly => assembly.GetTypes())
        .Where(type => type is { IsValueType: true, IsExplicitLayout: true, IsGenericTypeDefinition: false }
            && !type.IsDefined(typeof(CompilerGeneratedAttribute)) && type.Name != "<PrivateImplementationDetails>"
            && type.DeclaringType?.Name != "<PrivateImplementationDetails>")
        .OrderBy(type => type.FullName, StringComparer.Ordinal)
        .ToArray();

    /// <summary>The struct with this full name; '+' joins nested names.</summary>
    public static Type Find(string fullName) => ExplicitStructs.SingleOrDefault(type => type.FullName == fullName)
        ?? throw new InvalidOperationException($"no explicit-layout struct is called {fullName}: mend its row");

    /// <summary>Bytes of a value of the type.</summary>
    public static int SizeOf(Type type) => type.IsPointer || type.IsFunctionPointer
        ? IntPtr.Size
        : (int)s_sizeOf.MakeGenericMethod(type).Invoke(null, null)!;

    /// <summary>Its instance fields by offset.</summary>
    public static IReadOnlyList<NativeField> Fields(Type type) =>
        type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic)
            .Select(field => new NativeField(field.Name, field.GetCustomAttribute<FieldOffsetAttribute>()!.Value,
                SizeOf(field.FieldType)))
            .OrderBy(field => field.Offset).ThenBy(field => field.Name, StringComparer.Ordinal)
            .ToArray();

    /// <summary>The layout in one line, as rows for our own structs have it.</summary>
    public static string Describe(Type type) =>
        string.Join(' ', Fields(type).Select(field => $"{field.Name}@{field.Offset}:{field.Size}"));
}
