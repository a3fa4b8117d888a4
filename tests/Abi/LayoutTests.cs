namespace Dataplane.Tests;

public class LayoutTests
{
    public static IEnumerable<ITheoryDataRow> TableRows =>
        LayoutTable.Rows.Select(row => new TheoryDataRow<string>(row.Struct));

    public static IEnumerable<ITheoryDataRow> OwnRows =>
        LayoutTable.Own.Keys.Select(name => new TheoryDataRow<string>(name));

    public static IEnumerable<ITheoryDataRow> NewerRows =>
        LayoutTable.Newer.Select(row => new TheoryDataRow<string>(row.Struct));

    [Theory]
    [MemberData(nameof(TableRows))]
    public void Struct_WithCounterpart_HasItsLayout(string name) =>
        Compare(LayoutTable.Rows.Single(row => row.Struct == name));

    [Theory]
    [MemberData(nameof(NewerRows))]
    public void Struct_OfANewerHeader_HasItsLayout(string name) =>
        Compare(LayoutTable.Newer.Single(row => row.Struct == name));

    private static void Compare(LayoutTable.Row row)
    {
        string name = row.Struct;
        Type type = NativeLayout.Find(name);
        Dictionary<string, string> renames = row.Renames.Split(' ', StringSplitOptions.RemoveEmptyEntries)
            .Select(pair => pair.Split('=')).ToDictionary(pair => pair[0], pair => pair[1]);
        NativeField[] fields = [.. NativeLayout.Fields(type)
            .Where(field => renames.GetValueOrDefault(field.Name) != "-")];
        Assert.True(renames.Keys.All(key => NativeLayout.Fields(type).Any(field => field.Name == key)),
            $"the row of {name} names a field it does not have");

        var expressions = new List<string> { $"sizeof({row.CType})" };
        foreach (NativeField field in fields)
        {
            string cName = renames.GetValueOrDefault(field.Name, field.Name);
            expressions.Add($"offsetof({row.CType}, {cName})");
            expressions.Add($"sizeof((({row.CType} *)0)->{cName})");
        }
        long[] values = CProbe.Evaluate(row.Headers, expressions, row.Package, row.PkgConfig, row.Macro);
        var expected = new List<string> { $"{values[0]} bytes" };
        var actual = new List<string> { $"{NativeLayout.SizeOf(type)} bytes" };
        for (int i = 0; i < fields.Length; i++)
        {
            expected.Add($"{fields[i].Name}@{values[1 + 2 * i]}:{values[2 + 2 * i]}");
            actual.Add($"{fields[i].Name}@{fields[i].Offset}:{fields[i].Size}");
        }
        Assert.Equal(expected, actual);
    }

    [Theory]
    [MemberData(nameof(OwnRows))]
    public void Struct_OfOurOwn_HasTheLayoutWrittenDown(string name)
    {
        string line = Row(NativeLayout.Find(name));
        Assert.True(LayoutTable.Own[name] == line,
            $"its layout is not the one written down; if that is meant, put in tests/Abi/own-layouts.txt:\n{line}");
    }

    [Fact]
    public void ExplicitStruct_Any_HasARow()
    {
        string[] known = [.. LayoutTable.Rows.Select(row => row.Struct), .. LayoutTable.Own.Keys];
        string[] missing = [.. NativeLayout.ExplicitStructs.Where(type => !known.Contains(type.FullName)).Select(Row)];
        Assert.True(missing.Length == 0, "structs without a row: put one with their C struct in LayoutTable.Rows "
            + "or, when there is none, these lines in tests/Abi/own-layouts.txt:\n" + string.Join('\n', missing));
    }

    [Fact]
    public void ExplicitStruct_Any_KeepsItsFieldsInside()
    {
        Assert.NotEmpty(NativeLayout.ExplicitStructs);
        foreach (Type type in NativeLayout.ExplicitStructs)
        {
            int size = NativeLayout.SizeOf(type);
            Assert.True(type.StructLayoutAttribute!.Size == size, $"{type.FullName} is {size} bytes, its Size says "
                + $"{type.StructLayoutAttribute.Size}: the compiler padded it");
            Assert.All(NativeLayout.Fields(type), field => Assert.True(field.Offset + field.Size <= size));
        }
    }

    private static string Row(Type type) =>
        $"{type.FullName} {NativeLayout.SizeOf(type)} {NativeLayout.Describe(type)}";
}
