using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>Dpctl bind, unbind and status against a real kernel. Every NIC is bound again afterwards, as others
/// expect.</summary>
[Guest(Machines.Intel)]
public sealed class BindingTests : IDisposable
{
    private readonly string _nic = Guest.Pair("igb").First;

    public void Dispose() => DpctlProgram.Works("bind", _nic, "--force");

    [Fact]
    public void UnbindAndBind_TheKernelsDriver_HasItAndLosesIt()
    {
        string interfaceName = DpctlProgram.ToKernel(_nic, "igb");
        Assert.Equal($"{interfaceName} down", Status(_nic).GetProperty("interfaces")[0].GetString());
        string dry = DpctlProgram.Works("bind", interfaceName, "--dry-run");
        Assert.Contains("would write vfio-pci to /sys/bus/pci/devices/" + _nic, dry, StringComparison.Ordinal);
        Assert.Equal("igb", Status(_nic).GetProperty("driver").GetString());
        DpctlProgram.Works("bind", interfaceName);
        JsonElement after = Status(_nic);
        Assert.Equal("vfio-pci", after.GetProperty("driver").GetString());
        Assert.Equal(0, after.GetProperty("interfaces").GetArrayLength());
        Assert.True(File.Exists("/dev/vfio/" + after.GetProperty("iommuGroup").GetString()));
    }

    [Fact]
    public void Bind_InterfaceInUse_IsRefusedUntilItIsNot()
    {
        string name = DpctlProgram.ToKernel(_nic, "igb");
        DpctlProgram.Run("ip", "address", "add", "192.0.2.1/24", "dev", name);
        DpctlProgram.Fails($"{name} has address 192.0.2.1", "bind", name);
        DpctlProgram.Run("ip", "link", "set", name, "up");
        DpctlProgram.Run("ip", "route", "add", "default", "via", "192.0.2.2");
        DpctlProgram.Fails("the default route leaves by " + name, "bind", _nic, "--force");
        DpctlProgram.Run("ip", "address", "flush", "dev", name);
        DpctlProgram.Run("ip", "link", "add", "br7", "type", "bridge");
        DpctlProgram.Run("ip", "link", "set", name, "master", "br7");
        DpctlProgram.Fails($"{name} is a member of br7", "bind", _nic);
        DpctlProgram.Run("ip", "link", "del", "br7");
        DpctlProgram.Works("bind", _nic);
    }

    [Fact]
    public void VirtualFunctions_AreMadeBoundAndRemoved()
    {
        string name = DpctlProgram.ToKernel(_nic, "igb");
        DpctlProgram.Works("bind", name, "--vfs", "2");
        JsonElement[] virtuals = [.. All().Where(one => one.GetProperty("physicalFunction").GetString() == _nic)];
        Assert.Equal(["vfio-pci", "vfio-pci"], virtuals.Select(one => one.GetProperty("driver").GetString()));
        Assert.Equal("igb", Status(_nic).GetProperty("driver").GetString());
        DpctlProgram.Fails("virtual functions", "bind", _nic);
        DpctlProgram.Works("bind", _nic, "--vfs", "0");
        Assert.DoesNotContain(All(), one => one.GetProperty("physicalFunction").GetString() == _nic);
    }

    [Fact]
    public void User_WithoutPrivileges_OpensItOnceItIsGiven()
    {
        const string Nobody = "65534";
        JsonElement status = Status(_nic);
        string group = "/dev/vfio/" + status.GetProperty("iommuGroup").GetString();
        string[] opens = ["--reuid", Nobody, "--regid", Nobody, "--clear-groups", "bash", "-c",
            $"exec 3<>{group} && exec 4<>/dev/iommu && exec 5<>/dev/vfio/vfio"];
        Assert.NotEqual(0, DpctlProgram.Exit("setpriv", opens));
        DpctlProgram.Works("bind", _nic, "--user", "nobody");
        Assert.Equal(0, DpctlProgram.Exit("setpriv", opens));
        string device = Assert.Single(Directory.GetFileSystemEntries($"/sys/bus/pci/devices/{_nic}/vfio-dev"));
        Assert.Equal(0, DpctlProgram.Exit("setpriv", [.. opens[..^1],
            $"exec 3<>/dev/vfio/devices/{Path.GetFileName(device)}"]));
    }

    [Fact]
    public void Unbind_WhileAProcessHasItOpen_NamesThatProcess()
    {
        string group = "/dev/vfio/" + Status(_nic).GetProperty("iommuGroup").GetString();
        using (File.OpenHandle(group, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
            DpctlProgram.Fails($"({Environment.ProcessId})", "unbind", _nic);
        DpctlProgram.Works("unbind", _nic);
    }

    private static JsonElement[] All() =>
        [.. JsonDocument.Parse(DpctlProgram.Works("status", "--json")).RootElement.EnumerateArray()];

    private static JsonElement Status(string nic) =>
        All().Single(one => one.GetProperty("address").GetString() == nic);
}

/// <summary>Dpctl where there is no IOMMU.</summary>
[Guest(Machines.Bare)]
public sealed class BareBindingTests
{
    [Fact]
    public void Bind_WithoutIommu_OnlyByItsOwnWord()
    {
        string nic = Guest.Pair("igb").First;
        try
        {
            string name = DpctlProgram.ToKernel(nic, "igb");
            DpctlProgram.Fails("behind no IOMMU", "bind", name);
        }
        finally
        {
            Assert.Contains("/dev/vfio/noiommu-", DpctlProgram.Works("bind", nic, "--noiommu"),
                StringComparison.Ordinal);
        }
    }
}

/// <summary>NICs that come and go while somebody looks or has them open.</summary>
[Guest(Machines.Intel)]
public sealed class LostNicTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);

    [Fact]
    public void Watch_NicPulledOutAndPutBack_IsTold()
    {
        string nic = Guest.Pair("e1000e").First;
        PciAddress address = PciAddress.Parse(nic);
        using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true });
        var changes = new List<PciChange>();
        bool Saw(PciChangeKind kind)
        {
            lock (changes)
                return changes.Contains(new(kind, address));
        }
        using IDisposable watch = eal.Pci.Watch(change =>
        {
            lock (changes)
                changes.Add(change);
        });
        var slot = new GuestSlot(nic);
        slot.PullOut();
        Assert.True(SpinWait.SpinUntil(() => Saw(PciChangeKind.Removed), s_patience), "not told that it went");
        Assert.DoesNotContain(eal.Pci.Devices, device => device.Address == address);
        slot.PlugIn();
        Assert.True(SpinWait.SpinUntil(() => Saw(PciChangeKind.Bound), s_patience), "not told that a driver took it");
        Assert.True(Saw(PciChangeKind.Added) && Saw(PciChangeKind.Unbound));
        DpctlProgram.Works("bind", nic);
        Assert.True(eal.Pci.Find(address)!.IsBoundToVfio);
    }

    [Fact]
    public void Port_NicAskedBack_TellsOfItAndLetsGo()
    {
        string nic = Guest.Pair("e1000e").First;
        var slot = new GuestSlot(nic);
        using (Eal eal = Eal.Initialize(new EalOptions { NoHuge = true, Allow = [nic] }))
        using (PortList ports = PortList.Probe(eal, [new BareDriver()]))
        {
            using var removed = new ManualResetEventSlim();
            ports.Ports[0].Events += (_, what) =>
            {
                if (what == PortEvent.Removed)
                    removed.Set();
            };
            slot.Unplug();
            Assert.True(removed.Wait(s_patience), "not told");
            Assert.True(Directory.Exists($"/sys/bus/pci/devices/{nic}"));   // the kernel waits for us
            ports.Detach(ports.Ports[0]);
            Assert.True(SpinWait.SpinUntil(() => !Directory.Exists($"/sys/bus/pci/devices/{nic}"), s_patience),
                "still there");
        }
        slot.PlugIn();
        Assert.True(SpinWait.SpinUntil(() => Directory.Exists($"/sys/bus/pci/devices/{nic}/net"), s_patience),
            "not back");
        DpctlProgram.Works("bind", nic);
    }

    /// <summary>A port that only holds its function open.</summary>
    private sealed class BareDriver : PciPortDriver
    {
        public override string Name => "net_bare";

        public override string Help => "";

        public override IReadOnlyList<PciId> Ids { get; } = [new(0x8086)];

        public override Port Create(PortContext context) => new BarePort(context);
    }

    private sealed class BarePort(PortContext context) : Port(context)
    {
        public override PortInfo Info { get; } = new() { DriverName = "net_bare" };

        public override LinkStatus GetLink() => default;

        protected override RxQueue CreateRxQueue(int index, Mempool pool, RxQueueConfig config) =>
            throw new NotSupportedException();

        protected override TxQueue CreateTxQueue(int index, TxQueueConfig config) => throw new NotSupportedException();
    }
}

/// <summary>Dpctl as a user runs it, and other programs.</summary>
internal static class DpctlProgram
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);

    internal static string Works(params string[] args)
    {
        AppResult result = AppProcess.Run("Dpctl", args);
        Assert.True(result.Exit == 0, $"dpctl {string.Join(' ', args)}: {result.All}");
        return result.Output;
    }

    internal static void Fails(string words, params string[] args)
    {
        AppResult result = AppProcess.Run("Dpctl", args);
        Assert.True(result.Exit == 2, $"dpctl {string.Join(' ', args)}: {result.All}");
        Assert.Contains(words, result.Errors, StringComparison.Ordinal);
    }

    /// <summary>Gives a NIC back to the kernel.</summary>
    /// <returns>Its interface.</returns>
    internal static string ToKernel(string nic, string driver)
    {
        Assert.Contains($": {driver}", Works("unbind", nic), StringComparison.Ordinal);
        string directory = $"/sys/bus/pci/devices/{nic}/net";
        Assert.True(SpinWait.SpinUntil(() => Directory.Exists(directory), s_patience), "no interface came");
        return Path.GetFileName(Assert.Single(Directory.GetDirectories(directory)));
    }

    internal static int Exit(string program, params string[] args)
    {
        using Process process = Process.Start(program, args);
        process.WaitForExit();
        return process.ExitCode;
    }

    internal static void Run(string program, params string[] args) => Assert.Equal(0, Exit(program, args));
}
