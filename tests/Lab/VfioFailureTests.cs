using System.Diagnostics;

namespace Dataplane.Tests;

/// <summary>What goes wrong with VFIO ends in a message that says what to do, and the next start works.</summary>
[Guest(Machines.Intel)]
public sealed class VfioFailureTests(ITestOutputHelper output)
{
    private static readonly string[] s_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

    [Fact]
    public void Open_AfterAKill9_Works()
    {
        string nic = Guest.Pair("igb").First, file = NewFile();
        using (Process child = VfioGuest.Child(nameof(VfioChildTests.OpenAndStay), nic, file, IommuBackend.Type1))
        {
            VfioGuest.WaitForFile(file, child);
            child.Kill();
            child.WaitForExit();
        }
        using Eal eal = VfioGuest.Start(IommuBackend.Type1);
        using PciFunction function = eal.OpenNic(nic);
        Assert.Equal(0, function.ReadConfig16(4) & 4);
        Assert.NotEqual(0u, function.MapBar(0).Read(IntelRegs.Status));
    }

    [Fact]
    public void Open_AsAUser_NeedsTheNodeThenTheLimitThenWorks()
    {
        string nic = Guest.Pair("e1000e").First;
        string group = Path.GetFileName(Directory.ResolveLinkTarget($"/sys/bus/pci/devices/{nic}/iommu_group", true)!
            .FullName);
        string node = $"/dev/vfio/{group}";

        string refused = Told(nic, s_nobody);
        Assert.Contains($"cannot open {node}", refused, StringComparison.Ordinal);
        Assert.Contains("(EACCES)", refused, StringComparison.Ordinal);
        Assert.Contains($"sudo dpctl bind {nic} --user nobody", refused, StringComparison.Ordinal);

        Run("chown", "65534", node);
        try
        {
            string small = Told(nic, ["prlimit", "--memlock=1048576", .. s_nobody]);
            Assert.Contains("(ENOMEM)", small, StringComparison.Ordinal);
            Assert.Contains("32768 KB", small, StringComparison.Ordinal);   // need
            Assert.Contains("1024 KB", small, StringComparison.Ordinal);    // have
            Assert.Contains("memlock", small, StringComparison.Ordinal);

            Assert.Equal("opened", Told(nic, ["prlimit", "--memlock=268435456", .. s_nobody]));
        }
        finally
        {
            Run("chown", "0", node);
        }
    }

    [Fact]
    public void OpenByIommufd_AsAUser_NeedsTheLimitThenWorks()
    {
        string nic = Guest.Pair("e1000e").First;
        string node = DmaBackends.CdevNode(PciScan.One("/sys", PciAddress.Parse(nic))!);
        string mode = Host.Run("stat", "-c", "%a", DmaBackends.IommuNode).Trim();
        Run("chown", "65534", node);
        Run("chmod", "666", DmaBackends.IommuNode);
        try
        {
            string small = Told(nic, ["prlimit", "--memlock=1048576", .. s_nobody], IommuBackend.Iommufd);
            output.WriteLine(small);
            foreach (string word in (string[])["(ENOMEM)", "32768 KB", "1024 KB", "memlock"])    // need, have
                Assert.Contains(word, small, StringComparison.Ordinal);
            Assert.Equal("opened", Told(nic, ["prlimit", "--memlock=268435456", .. s_nobody], IommuBackend.Iommufd));
        }
        finally
        {
            Run("chown", "0", node);
            Run("chmod", mode, DmaBackends.IommuNode);
        }
    }

    private static string Told(string nic, string[] before, IommuBackend backend = IommuBackend.Type1)
    {
        string file = NewFile();
        using Process child = VfioGuest.Child(nameof(VfioChildTests.OpenAndTell), nic, file, backend, before);
        string told = VfioGuest.WaitForFile(file, child);
        child.WaitForExit();
        return told;
    }

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    private static string NewFile() => Path.Combine("/tmp", Path.GetRandomFileName());
}

/// <summary>Without interrupt remapping a device is refused, and the message names the parameter.</summary>
[Guest(Machines.NoRemapping)]
public sealed class VfioRemappingTests
{
    private const string Parameter = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

    [Fact]
    public void Open_WithoutInterruptRemapping_NamesTheParameterWhichThenHelps()
    {
        string nic = Guest.Pair("igb").First;
        using Eal eal = VfioGuest.Start(IommuBackend.Type1);
        DeviceException refused = Assert.Throws<DeviceException>(() => eal.OpenNic(nic));
        Assert.Equal(Errno.EPERM, refused.Errno);
        Assert.Contains("does not remap interrupts", refused.Why, StringComparison.Ordinal);
        Assert.Contains(Parameter, refused.Fix, StringComparison.Ordinal);
        File.WriteAllText(Parameter, "1");
        try
        {
            using PciFunction function = eal.OpenNic(nic);
            Assert.Equal(0x8086, function.ReadConfig16(0));
        }
        finally
        {
            File.WriteAllText(Parameter, "0");
        }
    }
}
