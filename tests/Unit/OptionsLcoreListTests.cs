using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public class OptionsLcoreListTests
{
    [Theory]
    [InlineData("0,2-5", "0@0,2@2,3@3,4@4,5@5")]
    [InlineData("3-5", "3@3,4@4,5@5")]
    [InlineData("5-3", "3@3,4@4,5@5")]
    [InlineData("(0,6)", "0@(0,6),6@(0,6)")]
    [InlineData("(3-5)", "3@(3-5),4@(3-5),5@(3-5)")]
    [InlineData("3-5@(0,2)", "3@(0,2),4@(0,2),5@(0,2)")]
    [InlineData("1@5-7", "1@(5-7)")]
    [InlineData("1@7-5", "1@(5-7)")]
    [InlineData("127@8000", "127@8000")]
    [InlineData("  1 @ ( 5 - 7 , 9 ) , 2 ", "1@(5-7,9),2@2")]
    [InlineData("2,2,1-2", "1@1,2@2")]
    [InlineData("(0-1)@(0-1),0@(1,0)", "0@(0-1),1@(0-1)")]
    public void LcoreList_Good_MapsAsDocumented(string list, string expected) =>
        Assert.Equal(expected, LcoreList.Format(LcoreList.Parse(list, "-l")));

    [Fact]
    public void LcoreList_ExampleOfDpdksGuide_GivesNineLcores() =>
        Assert.Equal("0@(0,6),1@1,2@(5-7),3@(0,2),4@(0,2),5@(0,2),6@(0,6),7@7,8@8",
            LcoreList.Format(LcoreList.Parse("1,2@(5-7),(3-5)@(0,2),(0,6),7-8", "-l")));

    [Theory]
    [InlineData("", "a number")]
    [InlineData(",", "a number")]
    [InlineData("0,", "a number")]
    [InlineData("0,,1", "a number")]
    [InlineData("-1", "a number")]
    [InlineData("1-", "a number")]
    [InlineData("a", "a number")]
    [InlineData("0x1", "the end")]
    [InlineData("1 2", "the end")]
    [InlineData("(0,1", "')'")]
    [InlineData("(0;1)", "')'")]
    [InlineData("()", "a number")]
    [InlineData("((1))", "a number")]
    [InlineData("0)", "the end")]
    [InlineData("1@", "a number")]
    [InlineData("1@@2", "a number")]
    [InlineData("1@2@3", "the end")]
    [InlineData("0-1-2", "the end")]
    [InlineData("128", "too high")]
    [InlineData("0-128", "too high")]
    [InlineData("1@8192", "below 8192")]
    [InlineData("99999999999999", "below 8192")]
    [InlineData("1@2,1@3", "again")]
    public void LcoreList_Bad_SaysWhere(string list, string expected)
    {
        ConfigException e = Assert.Throws<ConfigException>(() => LcoreList.Parse(list, "--lcores"));
        Assert.StartsWith("--lcores: bad list", e.What, StringComparison.Ordinal);
        Assert.Contains(expected, e.Why, StringComparison.Ordinal);
        Assert.NotNull(e.Fix);
    }

    [Theory]
    [InlineData("1@2")]
    [InlineData("(1,2)")]
    [InlineData("200")]
    [InlineData("")]
    public void ServiceList_Bad_Throws(string list) =>
        Assert.Throws<ConfigException>(() => LcoreList.ParseIds(list, "-S"));

    [Fact]
    public void LcoreList_AnyAssignment_SurvivesTheRoundTrip()
    {
        Gen<int[]> cpus = Gen.NonEmptyListOf(Gen.Choose(0, CpuSet.MaxCpus - 1)).Select(list => list.ToArray());
        Gen<LcoreAssignment> one = from id in Gen.Choose(0, Lcore.Max - 1) from set in cpus
                                   select new LcoreAssignment(id, CpuSet.Of(set));
        Gen<LcoreAssignment[]> all = Gen.NonEmptyListOf(one)
            .Select(list => list.DistinctBy(lcore => lcore.Id).OrderBy(lcore => lcore.Id).ToArray());
        Prop.ForAll(all.ToArbitrary(), lcores => lcores.SequenceEqual(LcoreList.Parse(LcoreList.Format(lcores), "-l")))
            .QuickCheckThrowOnFailure();
    }

    [Fact]
    public void LcoreList_AnyText_ParsesOrThrowsConfigException()
    {
        Gen<string> text = Gen.ArrayOf(Gen.Elements("0123456789,,@@()-- x".ToCharArray())).Select(c => new string(c));
        Prop.ForAll(text.ToArbitrary(), list =>
        {
            try
            {
                return LcoreList.Parse(list, "-l").Count > 0;
            }
            catch (ConfigException)
            {
                return true;
            }
        }).QuickCheckThrowOnFailure();
    }
}
