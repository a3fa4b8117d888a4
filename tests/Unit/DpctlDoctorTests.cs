using System.Text.Json;
using Dataplane.Dpctl;

namespace Dataplane.Tests;

public sealed class DpctlDoctorTests : IDisposable
{
    private const string Cpu = "/sys/devices/system/cpu";
    private const string Pages = "/sys/devices/system/node/node0/hugepages/hugepages-2048kB";
    private readonly FakeHost _host = new();

    public void Dispose() => _host.Dispose();

    private Finding Only(string check) => Assert.Single(DoctorCommand.Examine(_host),
        finding => finding.Check == check);

    private void Expect(string check, Status status, string text, string? fix = null)
    {
        Finding finding = Only(check);
        Assert.Equal(status, finding.Status);
        Assert.Contains(text, finding.Text, StringComparison.Ordinal);
        Assert.Equal(status == Status.Ok, finding.Fix == null);
        if (fix != null)
            Assert.Contains(fix, finding.Fix, StringComparison.Ordinal);
    }

    private FakeHost Perfect() => _host.WithPages(Pages, 512, 500)
        .With("/proc/self/limits", "Max locked memory         unlimited            unlimited            bytes")
        .With("/proc/self/status", "CapEff:\t000001ffffffffff").With("/proc/self/cgroup", "0::/user.slice")
        .With($"{Cpu}/online", "0-3").With($"{Cpu}/isolated", "2-3").With($"{Cpu}/nohz_full", "2-3")
        .With($"{Cpu}/smt/active", "0").With($"{Cpu}/cpu0/cpufreq/scaling_governor", "performance")
        .With("/proc/irq/24/effective_affinity_list", "0").With("/proc/irq/default_smp_affinity", "f")
        .With("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
        .With("/sys/kernel/iommu_groups/0/type", "DMA").With("/dev/vfio/vfio", "").With("/dev/vfio/12", "")
        .With("/proc/interrupts", " 24: 1 IR-PCI-MSI-0000:00:02.0 0-edge eth0")
        .With("/sys/bus/pci/drivers/vfio-pci/new_id", "").With("/dev/net/tun", "")
        .With("/proc/mounts", "hugetlbfs /dev/hugepages hugetlbfs rw 0 0");

    [Fact]
    public void Doctor_PerfectHost_IsAllOkAndExitsZero()
    {
        (int code, string output, string error) = Perfect().Dpctl("doctor");
        Assert.All(DoctorCommand.Examine(_host), finding => Assert.Equal(Status.Ok, finding.Status));
        Assert.Equal(CommandLine.Ok, code);
        Assert.Contains("0 to warn of, 0 failed", output, StringComparison.Ordinal);
        Assert.Empty(error);
    }

    [Fact]
    public void Doctor_EmptyTree_FailsAndDoesNotThrow()
    {
        (int code, string output, _) = _host.Dpctl("doctor");
        Assert.Equal(CommandLine.Failed, code);
        Assert.Contains("fix: ", output, StringComparison.Ordinal);
    }

    [Fact]
    public void Doctor_OneWarning_ExitsOneAndJsonHasIt()
    {
        (int code, string output, _) = Perfect().With($"{Cpu}/smt/active", "1").Dpctl("doctor", "--json");
        Assert.Equal(CommandLine.Warnings, code);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.Equal("warn", json.RootElement.GetProperty("status").GetString());
        JsonElement smt = json.RootElement.GetProperty("findings").EnumerateArray()
            .Single(finding => finding.GetProperty("check").GetString() == "smt");
        Assert.Equal("warn", smt.GetProperty("status").GetString());
        Assert.StartsWith("give lcores", smt.GetProperty("fix").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Hugepages_NoneReserved_FailsWithTheCommandForThatNode()
    {
        _host.WithPages(Pages, 0, 0).WithPages(Pages.Replace("2048", "1048576"), 0, 0);
        Expect("hugepages", Status.Fail, "node 0: none reserved", $"echo 512 | sudo tee {Pages}/nr_hugepages");
    }

    [Fact]
    public void Hugepages_OneNodeEmpty_NamesThatNodeOnly()
    {
        _host.WithPages(Pages, 8, 8).WithPages(Pages.Replace("node0", "node1"), 0, 0);
        Finding[] findings = DoctorCommand.Examine(_host).Where(finding => finding.Check == "hugepages").ToArray();
        Assert.Equal([Status.Ok, Status.Fail], findings.Select(finding => finding.Status));
        Assert.Contains("node1", findings[1].Fix, StringComparison.Ordinal);
    }

    [Fact]
    public void Hugepages_AllInUse_Warns()
    {
        _host.WithPages(Pages, 8, 0);
        Expect("hugepages", Status.Warn, "0 of 8 pages of 2M free");
    }

    [Theory]
    [InlineData("8388608", "0000000000000000", Status.Warn, "at most 8 MB")]
    [InlineData("8388608", "0000000000004000", Status.Ok, "CAP_IPC_LOCK")]
    [InlineData("unlimited", "0", Status.Ok, "no limit")]
    [InlineData("?", "0", Status.Warn, "cannot be read")]
    public void Memlock_LimitAndCapability_Decide(string limit, string capabilities, object status, string text)
    {
        _host.With("/proc/self/limits", $"Limit Soft Hard Units\nMax locked memory   {limit}   {limit}   bytes")
            .With("/proc/self/status", $"Name:\tx\nCapEff:\t{capabilities}");
        Expect("memlock", (Status)status, text);
    }

    [Fact]
    public void Thp_Always_Warns()
    {
        _host.With("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never");
        Expect("thp", Status.Warn, "always on", "echo madvise");
    }

    [Fact]
    public void Isolation_None_SuggestsAllButTheFirstCore()
    {
        _host.With($"{Cpu}/online", "0-7").With($"{Cpu}/isolated", "")
            .With($"{Cpu}/cpu0/topology/thread_siblings_list", "0,4");
        Expect("isolation", Status.Warn, "no CPU", "isolcpus=managed_irq,domain,1-3,5-7 nohz_full=1-3,5-7");
    }

    [Fact]
    public void Isolation_WithGrub_GivesTheWholeCommand()
    {
        _host.With($"{Cpu}/online", "0-1").With("/etc/default/grub", "GRUB_CMDLINE_LINUX=\"\"");
        Expect("isolation", Status.Warn, "no CPU", "update-grub");
    }

    [Fact]
    public void Cpus_One_Fails()
    {
        _host.With($"{Cpu}/online", "0");
        Expect("cpus", Status.Fail, "only one");
        Expect("isolation", Status.Warn, "no CPU", "second core");
    }

    [Theory]
    [InlineData("(null)")]
    [InlineData("2")]
    public void Ticks_IsolatedButTicking_Warns(string quiet)
    {
        _host.With($"{Cpu}/online", "0-3").With($"{Cpu}/isolated", "2-3").With($"{Cpu}/nohz_full", quiet);
        Expect("ticks", Status.Warn, "still take", "nohz_full=2-3");
    }

    [Fact]
    public void Interrupts_OnIsolatedCpu_AreNamedWithTheCommand()
    {
        _host.With($"{Cpu}/online", "0-3").With($"{Cpu}/isolated", "2-3")
            .With("/proc/irq/9/effective_affinity_list", "0-1").With("/proc/irq/30/effective_affinity_list", "3");
        Expect("irqs", Status.Warn, "interrupts 30", "for i in 30; do echo 0-1");
    }

    [Fact]
    public void Governor_Mixed_Warns()
    {
        _host.With($"{Cpu}/cpu0/cpufreq/scaling_governor", "performance")
            .With($"{Cpu}/cpu1/cpufreq/scaling_governor", "powersave");
        Expect("governor", Status.Warn, "powersave on 1", "echo performance");
    }

    [Fact]
    public void Smt_Active_ListsOneThreadPerCore()
    {
        _host.With($"{Cpu}/smt/active", "1").With($"{Cpu}/online", "0-3");
        for (int cpu = 0; cpu < 4; cpu++)
            _host.With($"{Cpu}/cpu{cpu}/topology/thread_siblings_list", $"{cpu % 2},{cpu % 2 + 2}");
        Expect("smt", Status.Warn, "two threads", "-l 0-1");
    }

    [Theory]
    [InlineData("max 100000", Status.Ok, "no control group")]
    [InlineData("150000 100000", Status.Warn, "allows 1.5 CPUs")]
    [InlineData("50000 100000", Status.Fail, "allows 0.5 CPUs")]
    [InlineData("rubbish", Status.Ok, "no control group")]
    public void Quota_Version2_IsReadFromOurGroupUp(string limit, object status, string text)
    {
        _host.With("/proc/self/cgroup", "0::/kubepods/pod1/c1").With("/sys/fs/cgroup/kubepods/pod1/cpu.max", limit)
            .With("/sys/fs/cgroup/kubepods/pod1/c1/cpu.max", "max 100000");
        Expect("quota", (Status)status, text, (Status)status == Status.Ok ? null
            : "/sys/fs/cgroup/kubepods/pod1/cpu.max");
    }

    [Theory]
    [InlineData("-1", Status.Ok, "no control group")]
    [InlineData("200000", Status.Warn, "allows 2 CPUs")]
    public void Quota_Version1_IsReadToo(string quota, object status, string text)
    {
        _host.With("/proc/self/cgroup", "3:cpu,cpuacct:/docker/x\n2:memory:/docker/x\n0::/")
            .With("/sys/fs/cgroup/unified/x", "")
            .With("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", quota)
            .With("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000");
        Expect("quota", (Status)status, text);
    }

    [Fact]
    public void Tap_EachMissingRight_HasItsOwnFinding()
    {
        Expect("tap", Status.Warn, "is not there", "sudo modprobe tun");
        _host.With("/dev/net/tun", "").Closed.Add("/dev/net/tun");
        Expect("tap", Status.Warn, "may not open", "chmod");
        _host.Closed.Clear();
        Expect("tap", Status.Warn, "CAP_NET_ADMIN", "sudo setcap cap_net_raw,cap_net_admin+ep");
    }

    [Fact]
    public void HugetlbMount_Closed_Warns()
    {
        _host.With("/proc/mounts", "proc /proc proc rw 0 0\nnone /mnt/huge hugetlbfs rw,pagesize=2M 0 0")
            .Closed.Add("/mnt/huge");
        Expect("hugetlbfs", Status.Warn, "/mnt/huge", "sudo chown $USER /mnt/huge");
    }
}
