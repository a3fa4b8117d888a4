namespace Dataplane.Tests;

public class CpuSetTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("0\n", "0")]
    [InlineData("0-3,8,10-11", "0-3,8,10-11")]
    [InlineData("63-64,127,128", "63-64,127-128")]
    [InlineData("3,1,2,1", "1-3")]
    public void CpuSet_KernelList_RoundTrips(string text, string expected) =>
        Assert.Equal(expected, CpuSet.Parse(text).ToString());

    [Theory]
    [InlineData("x")]
    [InlineData("-1")]
    [InlineData("3-1")]
    [InlineData("1-")]
    [InlineData("8192")]
    public void CpuSet_MalformedList_NamesThePart(string text) =>
        Assert.Contains(text, Assert.Throws<ConfigException>(() => CpuSet.Parse(text)).Message);

    [Fact]
    public void CpuSet_Algebra_IsThatOfSets()
    {
        CpuSet a = CpuSet.Parse("0-70"), b = CpuSet.Parse("64-80");
        Assert.Equal("0-80", a.Union(b).ToString());
        Assert.Equal("64-70", a.Intersect(b).ToString());
        Assert.Equal("0-63", a.Except(b).ToString());
        Assert.Equal(CpuSet.Parse("0-63"), a.Except(b));   // no trace of the emptied word
        Assert.Equal(71, a.Count);
        Assert.Equal(64, b.First);
        Assert.Equal(-1, CpuSet.Empty.First);
        Assert.True(a.Contains(64));
        Assert.False(a.Contains(71));
        Assert.False(a.Contains(-1));
    }
}
