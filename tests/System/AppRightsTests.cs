namespace Dataplane.Tests;

/// <summary>Applications run by a user without rights, and asked for more than there is.</summary>
public sealed class AppRightsTests
{
    private static readonly string[] s_asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

    private static AppResult ForwardAsNobody(params string[] arguments)
    {
        Host.Require("setpriv");
        string app = Path.Combine(AppContext.BaseDirectory, "Forward.dll");
        Assert.SkipUnless(Host.TryRun(s_asNobody[0], [.. s_asNobody[1..], "test", "-r", app]).Exit == 0,
            $"needs {app} readable by everyone: build the tree where others may read, or chmod o+rx its folders");
        return AppProcess.End(AppProcess.StartAs(s_asNobody, "Forward", arguments));
    }

    [Fact]
    public void Demo_AsAnOrdinaryUser_ForwardsWithEveryPacketAccountedFor()
    {
        AppResult result = ForwardAsNobody();
        Assert.True(result.Exit == 0, result.All);
        Assert.Contains("every packet accounted for", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("net_af_packet0,iface=lo", "CAP_NET_RAW")]
    [InlineData("net_tap0", "CAP_NET_ADMIN")]
    public void Forward_WithoutTheRight_NamesItAndTheFix(string vdev, string right) =>
        ForwardAsNobody("--no-huge", "-l", AppProcess.Lcores(1), "--vdev", vdev, "--", "--duration", "0.2")
            .AssertFails("EPERM", right, "setcap");

    [Fact]
    public void Forward_InterfaceThatIsNotThere_SaysSo()
    {
        Host.Require();
        AppProcess.Run("Forward", "--no-huge", "-l", AppProcess.Lcores(1), "--vdev", "net_af_packet0,iface=nosuch0")
            .AssertFails("net_af_packet0", "nosuch0");
    }
}

/// <summary>Too few hugepages.</summary>
[Collection(HugepageCollection.Name)]
public sealed class AppMemoryTests
{
    [Fact]
    public void Forward_MoreThanTheHugepages_SaysHowManyThereAreAndHowToGetMore()
    {
        using var pages = new HugepageReservation(4);
        AppProcess.Run("Forward", "-l", AppProcess.Lcores(1), "-m", "99999", "--vdev", "net_null0")
            .AssertFails("not enough", "nr_hugepages");
        Assert.Equal(4, pages.Free);
    }
}
