using Dataplane.Dpctl;

namespace Dataplane.Tests;

public sealed class DpctlHugepagesTests : IDisposable
{
    private const string Node = "/sys/devices/system/node/node0/hugepages", Machine = "/sys/kernel/mm/hugepages";
    private const string Small = "hugepages-2048kB", Large = "hugepages-1048576kB";
    private readonly FakeHost _host = new();

    public DpctlHugepagesTests()
    {
        foreach (string directory in new[] { Node, Node.Replace("node0", "node1"), Machine })
            _host.WithPages($"{directory}/{Small}", 4, 3).WithPages($"{directory}/{Large}", 0, 0);
    }

    public void Dispose() => _host.Dispose();

    [Fact]
    public void Show_EveryNodeAndSize_IsARow()
    {
        (int code, string output, _) = _host.Dpctl("hugepages", "show");
        Assert.Equal(CommandLine.Ok, code);
        Assert.Equal(2, output.Split('\n').Count(line => line.Contains("2M") && line.Contains('4')
            && line.Contains('3')));
        Assert.Equal(2, output.Split('\n').Count(line => line.Contains("1G")));
        Assert.Contains("\"sizeKb\": 2048", _host.Dpctl("hugepages", "show", "--json").Output,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Set_OnANode_WritesThereAndSaysHadAndHave()
    {
        (int code, string output, string error) = _host.Dpctl("hugepages", "set", "16", "--node", "1", "--size", "2M");
        Assert.Equal((CommandLine.Ok, ""), (code, error));
        Assert.Contains("2M on node 1: had 4, asked for 16, have 16", output, StringComparison.Ordinal);
        Assert.Equal("16", _host.Read($"{Node.Replace("node0", "node1")}/{Small}/nr_hugepages"));
        Assert.Equal("4", _host.Read($"{Node}/{Small}/nr_hugepages"));
    }

    [Fact]
    public void Set_WithoutNode_LeavesTheSpreadToTheKernel()
    {
        Assert.Equal(CommandLine.Ok, _host.Dpctl("hugepages", "set", "2", "--size=1G").Code);
        Assert.Equal("2", _host.Read($"{Machine}/{Large}/nr_hugepages"));
    }

    [Fact]
    public void Set_KernelGivesFewer_FailsWithAskedAndGot()
    {
        _host.Kernel = (_, text) => text == "16" ? "9" : text;
        (int code, _, string error) = _host.Dpctl("hugepages", "set", "16");
        Assert.Equal(CommandLine.Failed, code);
        Assert.StartsWith("dpctl: asked for 16 pages of 2M, got 9", error, StringComparison.Ordinal);
        Assert.Contains("compact_memory", error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Clear_PagesInUse_SaysHowManyStay()
    {
        _host.Kernel = (_, _) => "1";
        (int code, _, string error) = _host.Dpctl("hugepages", "clear", "--node", "0");
        Assert.Equal(CommandLine.Failed, code);
        Assert.Contains("asked for 0 pages of 2M on node 0, 1 stay", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Clear_All_ClearsEveryNode()
    {
        Assert.Equal(CommandLine.Ok, _host.Dpctl("hugepages", "clear").Code);
        Assert.Equal("0", _host.Read($"{Node}/{Small}/nr_hugepages"));
        Assert.Equal("0", _host.Read($"{Node.Replace("node0", "node1")}/{Small}/nr_hugepages"));
    }

    [Theory]
    [InlineData("there are 2M on node 0, 2M on node 1, 1G on node 0", "hugepages", "set", "1", "--size", "16M",
        "--node", "0")]
    [InlineData("no hugepages of 2M on node 7", "hugepages", "set", "1", "--node", "7")]
    [InlineData("not a page size", "hugepages", "set", "1", "--size", "big")]
    [InlineData("not a page size", "hugepages", "clear", "--size", "0M")]
    [InlineData("count", "hugepages", "set")]
    [InlineData("many", "hugepages", "set", "many")]
    [InlineData("frobnicate", "frobnicate")]
    [InlineData("--bogus", "doctor", "--bogus")]
    public void BadUse_IsToldOnStderrAndFails(string expected, params string[] args)
    {
        (int code, _, string error) = _host.Dpctl(args);
        Assert.Equal(CommandLine.Failed, code);
        Assert.Contains(expected, error, StringComparison.Ordinal);
    }

    [Fact]
    public void Set_NotWritable_GivesTheCommand()
    {
        using var readOnly = new FakeHost();
        readOnly.With($"{Machine}/{Small}/nr_hugepages/is-no-file", "");
        string error = readOnly.Dpctl("hugepages", "set", "1").Error;
        Assert.Contains("EACCES", error, StringComparison.Ordinal);
        Assert.Contains($"echo 1 | sudo tee {Machine}/{Small}/nr_hugepages", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("2M", 2048, "2M")]
    [InlineData("1g", 1 << 20, "1G")]
    [InlineData("2048kB", 2048, "2M")]
    [InlineData("64K", 64, "64k")]
    public void PageSize_EveryWayToWriteIt_IsRead(string text, long kilobytes, string shortest)
    {
        Assert.Equal(kilobytes, PageSize.Parse(text));
        Assert.Equal(shortest, PageSize.Format(kilobytes));
    }
}
