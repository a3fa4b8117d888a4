using Dataplane.Dpctl;

namespace Dataplane.Tests;

public sealed class DpctlBindTests : IDisposable
{
    private const string Nic = "0000:3b:00.0", Other = "0000:3b:00.1";

    private readonly FakeHost _host = new();
    private readonly FakeKernel _kernel;

    public DpctlBindTests() => _kernel = new FakeKernel(_host);

    public void Dispose() => _host.Dispose();

    private string Works(params string[] args)
    {
        (int code, string output, string error) = _host.Dpctl(args);
        Assert.True(code == CommandLine.Ok, output + error);
        return output;
    }

    private void Refuses(string words, params string[] args)
    {
        string[] before = [.. _host.Log];
        (int code, string output, string error) = _host.Dpctl(args);
        Assert.True(code == CommandLine.Failed, output + error);
        Assert.Contains(words, error, StringComparison.Ordinal);
        Assert.Equal(before, _host.Log);   // refused before anything was changed
    }

    [Theory]
    [InlineData(Nic)]
    [InlineData("3b:00.0")]
    [InlineData("eth1")]
    [InlineData("--group", "42")]
    public void BindAndUnbind_IdleNic_GoesAndComesBack(params string[] device)
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42).Function("0000:3a:00.0", "pcieport", group: 42,
            @class: "060400");
        string output = Works(["bind", .. device]);
        Assert.Equal(("vfio-pci", "pcieport"), (_kernel.DriverOf(Nic), _kernel.DriverOf("0000:3a:00.0")));
        Assert.Contains("/dev/vfio/42, /dev/vfio/devices/vfio42", output, StringComparison.Ordinal);
        Assert.Contains("vfio-pci", Works("status"), StringComparison.Ordinal);
        Assert.Contains("igb", Works("unbind", Nic), StringComparison.Ordinal);
        Assert.Equal("igb", _kernel.DriverOf(Nic));
        Assert.Equal("", _host.Read($"{FakeKernel.Bus}/devices/{Nic}/driver_override"));
    }

    [Fact]
    public void Bind_Twice_ChangesNothingMore()
    {
        _kernel.Function(Nic, group: 42, driver: null);
        Works("bind", Nic);
        int writes = _host.Log.Count;
        Works("bind", Nic);
        Assert.Equal(writes, _host.Log.Count);
    }

    [Fact]
    public void Bind_DryRun_PrintsEveryWriteAndMakesNone()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        Directory.Delete(_host.Real(FakeKernel.Bus + "/drivers/vfio-pci"), recursive: true);
        string output = Works("bind", Nic, "--dry-run", "--user", "ann", "--persist");
        Assert.Empty(_host.Log);
        Assert.Equal("igb", _kernel.DriverOf(Nic));
        foreach (string words in (string[])["run modprobe vfio-pci",
            $"vfio-pci to {FakeKernel.Bus}/devices/{Nic}/driver_override",
            $"{Nic} to {FakeKernel.Bus}/devices/{Nic}/driver/unbind", $"{Nic} to {FakeKernel.Bus}/drivers_probe",
            "give /dev/vfio/42 to user 1001 mode 600", "give /dev/iommu mode 666", "memlock", "/etc/udev/rules.d/"])
            Assert.Contains(words, output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("no such", "eth7")]
    [InlineData("there is no PCI function", "0000:ff:00.0")]
    [InlineData("no device is named")]
    [InlineData("no IOMMU group 7", "--group", "7")]
    [InlineData("is a bridge", "0000:3a:00.0")]
    [InlineData("there is no user 'bob'", Nic, "--user", "bob")]
    [InlineData("leave --noiommu out", Nic, "--noiommu")]
    [InlineData("--user and --noiommu", Nic, "--noiommu", "--user", "ann")]
    [InlineData("can have no virtual functions", Nic, "--vfs", "2")]
    [InlineData("--vfs wants 0 or more", Nic, "--vfs", "-2")]
    public void Bind_WhatCannotBe_IsRefused(string words, params string[] args)
    {
        _kernel.Function(Nic, group: 42).Function("0000:3a:00.0", "pcieport", group: 41, @class: "060400");
        _host.Programs = line => line.StartsWith("getent", StringComparison.Ordinal) ? 2 : 0;
        (int code, _, string error) = _host.Dpctl(["bind", .. args]);
        Assert.Equal(CommandLine.Failed, code);
        Assert.Contains(words == "no such" ? "there is no PCI function" : words, error, StringComparison.Ordinal);
        Assert.DoesNotContain(_host.Log, line => line.Contains(" > ", StringComparison.Ordinal));
    }

    [Fact]
    public void Bind_InUse_IsRefusedUnlessForced()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        _host.Addresses["eth1"] = ["192.0.2.1", "fe80::1"];
        Refuses("eth1 has address 192.0.2.1", "bind", Nic);
        _host.Addresses["eth1"] = ["fe80::1"];
        _host.With("/proc/net/route", "Iface Destination\neth1\t000200C0\t0\t1\t0\t0\t0\t00FFFFFF");
        Refuses("1 route leaves by eth1", "bind", "eth1");
        _host.With("/proc/net/route", "").With("/proc/net/ipv6_route", string.Join('\n',
            "fe800000000000000000000000000000 40 0 00 0 00000100 00000001 00000000 00000001 eth1",
            "ff000000000000000000000000000000 08 0 00 0 00000100 00000001 00000000 00000001 eth1",
            "20010db8000000000000000000000001 80 0 00 0 00000000 00000002 00000000 80200001 eth1",
            "20010db8000000000000000000000000 40 0 00 0 00000100 00000001 00000000 00000001 eth1"));
        Refuses("1 route leaves by eth1", "bind", Nic);
        _host.With("/proc/net/ipv6_route", "").WithLink("/sys/class/net/eth1/master", "../bond0")
            .WithLink("/sys/class/net/eth1/upper_bond0", "../bond0");
        Refuses("eth1 is a member of bond0", "bind", "--group", "42");
        Assert.Contains("warning: eth1 is a member of bond0; forced", Works("bind", Nic, "--force"),
            StringComparison.Ordinal);
        Assert.Equal("vfio-pci", _kernel.DriverOf(Nic));
    }

    [Theory]
    [InlineData("eth1", "/proc/net/route", "eth1\t00000000\t010200C0\t3\t0\t0\t0\t00000000", "default route")]
    [InlineData("eth1", "/proc/net/ipv6_route", "00000000000000000000000000000000 00 0 00 fe80 400 1 0 00000003 eth1",
        "default route")]
    [InlineData("eth1", "/proc/net/tcp", " 0: 010200C0:0016 020200C0:C350 01 00000000:00000000", "SSH")]
    [InlineData("eth1", "/proc/net/tcp6",
        " 0: 0000000000000000FFFF0000010200C0:0016 0000000000000000FFFF0000020200C0:C350 01 0", "SSH")]
    [InlineData("br0", "/proc/net/route", "br0\t00000000\t010200C0\t3\t0\t0\t0\t00000000", "upper")]
    public void Bind_WayIntoTheMachine_NeedsTwoWords(string holder, string file, string line, string why)
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        _host.Addresses[holder] = ["192.0.2.1"];
        _host.With(file, "heading\n" + line);
        if (holder == "br0")
            _host.WithLink("/sys/class/net/eth1/upper_br0", "../br0");
        Refuses("cut the way into this machine", "bind", Nic);
        Refuses("cut the way into this machine", "bind", Nic, "--force");
        Refuses("cut the way into this machine", "bind", Nic, "--cut-default-route");
        Assert.Contains("WARNING", Works("bind", Nic, "--force", "--cut-default-route"), StringComparison.Ordinal);
        Assert.NotEmpty(why);
    }

    [Fact]
    public void Bind_GroupWithOthers_NamesThemAndTakesTheWholeGroup()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42).Function(Other, netdev: "eth2", group: 42)
            .Function("0000:3b:00.2", driver: null, group: 42);
        Refuses($"{Other} [8086:10c9] is in it and bound to igb", "bind", Nic);
        Works("bind", Nic, Other);
        Assert.Equal(("vfio-pci", "vfio-pci", (string?)null), (_kernel.DriverOf(Nic), _kernel.DriverOf(Other),
            _kernel.DriverOf("0000:3b:00.2")));
        Works("unbind", "--group", "42");
        Assert.Equal(("igb", "igb"), (_kernel.DriverOf(Nic), _kernel.DriverOf(Other)));
        _kernel.Function("0000:3b:00.3", "ahci", group: 42, @class: "010601");
        Refuses("is no network device", "bind", "--group", "42");
    }

    [Fact]
    public void Bind_NoInterfaceHere_MayBeInAnotherNamespace()
    {
        _kernel.Function(Nic, group: 42);
        Refuses("another network namespace", "bind", Nic);
    }

    [Fact]
    public void Bind_VfioPciRefuses_EverythingIsPutBack()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42).Function(Other, netdev: "eth2", group: 43);
        _kernel.Refused.Add(Other);
        (int code, _, string error) = _host.Dpctl("bind", Nic, Other);
        Assert.Equal(CommandLine.Failed, code);
        Assert.Contains($"{Other} is not bound to vfio-pci", error, StringComparison.Ordinal);
        Assert.Equal(("igb", "igb"), (_kernel.DriverOf(Nic), _kernel.DriverOf(Other)));
    }

    [Fact]
    public void Bind_NoIommu_OnlyByItsOwnWord()
    {
        _kernel.Function(Nic, netdev: "eth1");
        Refuses("behind no IOMMU", "bind", Nic);
        string output = Works("bind", Nic, "--noiommu");
        Assert.Contains("/dev/vfio/noiommu-0", output, StringComparison.Ordinal);
        Assert.Contains("warning: no IOMMU", output, StringComparison.Ordinal);
        const string Switch = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
        Assert.Equal("Y", _host.Read(Switch));
        Works("unbind", Nic);
        Assert.Equal(("N", "igb"), (_host.Read(Switch), _kernel.DriverOf(Nic)));
    }

    [Fact]
    public void Bind_ForAUser_GivesTheFilesAndTheLimit()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        Assert.Contains("from the next login on", Works("bind", Nic, "--user", "ann"), StringComparison.Ordinal);
        Assert.Contains("1001 600 /dev/vfio/42", _host.Log);
        Assert.Contains("1001 600 /dev/vfio/devices/vfio42", _host.Log);
        Assert.Contains(" 666 /dev/iommu", _host.Log);
        Assert.Contains("ann - memlock unlimited", _host.Read("/etc/security/limits.d/90-dataplane-ann.conf"),
            StringComparison.Ordinal);
        Works("unbind", Nic);
        Assert.False(_host.Exists("/etc/security/limits.d/90-dataplane-ann.conf"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Bind_Persist_IsKeptAndForgotten(bool hasDriverctl)
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        if (hasDriverctl)
            _host.With("/usr/sbin/driverctl", "").With($"/etc/driverctl.d/{Nic}", "vfio-pci");
        Works("bind", Nic, "--persist");
        string rule = $"/etc/udev/rules.d/90-dataplane-{Nic}.rules";
        if (hasDriverctl)
            Assert.Contains($"driverctl --noprobe set-override {Nic} vfio-pci", _host.Log);
        else
            Assert.Contains($"KERNEL==\"{Nic}\", ATTR{{driver_override}}=\"vfio-pci\"", _host.Read(rule),
                StringComparison.Ordinal);
        Assert.Equal(!hasDriverctl, _host.Exists(rule));
        Works("unbind", Nic);
        Assert.False(_host.Exists(rule));
        Assert.Equal(hasDriverctl, _host.Log.Contains($"driverctl --noprobe unset-override {Nic}"));
    }

    [Fact]
    public void VirtualFunctions_MadeBoundAndRemoved()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        _host.With($"{FakeKernel.Bus}/devices/{Nic}/sriov_totalvfs", "7")
            .With($"{FakeKernel.Bus}/devices/{Nic}/sriov_drivers_autoprobe", "1");
        Refuses("cannot have 8", "bind", Nic, "--vfs", "8");
        Works("bind", "eth1", "--vfs", "2");
        Assert.Equal(("igb", "vfio-pci", "vfio-pci"), (_kernel.DriverOf(Nic), _kernel.DriverOf("0000:3b:10.0"),
            _kernel.DriverOf("0000:3b:10.1")));
        Assert.Equal("1", _host.Read($"{FakeKernel.Bus}/devices/{Nic}/sriov_drivers_autoprobe"));
        Assert.Contains("2/7", Works("status"), StringComparison.Ordinal);
        Refuses("has 2 virtual functions", "bind", Nic);
        Refuses("only by way of 0", "bind", Nic, "--vfs", "3");
        Works("bind", Nic, "--vfs", "0");
        Assert.False(_host.Exists($"{FakeKernel.Bus}/devices/0000:3b:10.0"));
    }

    [Fact]
    public void Unbind_ProcessHasItOpen_IsRefusedWithItsName()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        Works("bind", Nic);
        _host.With("/proc/77/comm", "Forward").WithLink("/proc/77/fd/9", "/dev/vfio/devices/vfio42");
        Refuses("Forward (77)", "unbind", Nic);
        Works("unbind", Nic, "--force");
        Assert.Equal("igb", _kernel.DriverOf(Nic));
    }

    [Fact]
    public void Unbind_NeverBound_LeavesItAlone()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42);
        Assert.Contains("igb", Works("unbind", "eth1"), StringComparison.Ordinal);
        Assert.Empty(_host.Log);
    }

    [Fact]
    public void Status_Json_HasNamesGroupsAndMembers()
    {
        _kernel.Function(Nic, netdev: "eth1", group: 42).Function(Other, driver: null, group: 42)
            .Function("0000:00:1f.0", "lpc_ich", id: "8086:a000", @class: "060100");
        _host.With("/usr/share/misc/pci.ids", "# names\n8086  Intel Corporation\n\t10c9  82576 Gigabit\n"
            + "\t\t8086 a03c  Subsystem\nC 02  Network controller\n\t10c9  wrong");
        using var json = System.Text.Json.JsonDocument.Parse(Works("status", "--json"));
        Assert.Equal(2, json.RootElement.GetArrayLength());
        System.Text.Json.JsonElement first = json.RootElement[0];
        Assert.Equal(("8086:10c9", "Intel Corporation 82576 Gigabit", "42", "eth1 up", $"{Other} no driver"),
            (first.GetProperty("id").GetString(), first.GetProperty("name").GetString(),
            first.GetProperty("iommuGroup").GetString(), first.GetProperty("interfaces")[0].GetString(),
            first.GetProperty("groupMembers")[0].GetString()));
        Assert.Contains("lpc_ich", Works("status", "--all"), StringComparison.Ordinal);
    }
}
