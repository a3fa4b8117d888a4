using System.Diagnostics;

namespace Dataplane.Tests;

/// <summary>What tests of VFIO inside a machine share.</summary>
internal static class VfioGuest
{
    internal static Eal Start(IommuBackend backend, bool unsafeNoIommu = false) =>
        Eal.Initialize(new EalOptions
        {
            MemoryMb = 32, IommuBackend = backend, UnsafeNoIommu = unsafeNoIommu,
            Lcores = [new(0, CpuSet.Of(0))],
        });

    internal static PciFunction OpenNic(this Eal eal, string address) =>
        eal.Dma.Open(eal.Pci.Find(PciAddress.Parse(address)) ?? throw new InvalidOperationException(address));

    /// <summary>Runs one explicit test of <see cref="VfioChildTests"/> in a process of its own.</summary>
    /// <param name="method">Its name.</param>
    /// <param name="nic">The device it is for.</param>
    /// <param name="file">Where it writes what came of it.</param>
    /// <param name="backend">What opens the device.</param>
    /// <param name="before">A command that runs the rest of the line, e.g. as another user.</param>
    internal static Process Child(string method, string nic, string file, IommuBackend backend,
        params string[] before)
    {
        string[] line = [.. before, "dotnet", typeof(VfioGuest).Assembly.Location, "-noColor", "-noAutoReporters",
            "-explicit", "only", "-method", $"{typeof(VfioChildTests).FullName}.{method}"];
        var start = new ProcessStartInfo(line[0], line[1..]) { RedirectStandardOutput = true };
        start.Environment["VFIO_NIC"] = nic;
        start.Environment["VFIO_FILE"] = file;
        start.Environment["VFIO_BACKEND"] = backend.ToString();
        Process process = Process.Start(start)!;
        process.OutputDataReceived += static (_, _) => { };
        process.BeginOutputReadLine();
        return process;
    }

    /// <summary>Waits for what a child writes, in one piece.</summary>
    internal static string WaitForFile(string file, Process child)
    {
        bool there = SpinWait.SpinUntil(() => File.Exists(file) || child.HasExited, TimeSpan.FromMinutes(5));
        Assert.True(there && File.Exists(file), "the child did not get so far");
        return File.ReadAllText(file);
    }

    /// <summary>Writes a file so that nobody sees half of it.</summary>
    internal static void WriteWhole(string file, string text)
    {
        File.WriteAllText(file + ".part", text);
        File.Move(file + ".part", file);
    }
}

/// <summary>Run by other tests in processes of their own.</summary>
[Guest(Machines.Intel)]
public sealed class VfioChildTests
{
    private static readonly string s_nic = Environment.GetEnvironmentVariable("VFIO_NIC") ?? "",
        s_file = Environment.GetEnvironmentVariable("VFIO_FILE") ?? "";

    private static IommuBackend Backend =>
        Enum.Parse<IommuBackend>(Environment.GetEnvironmentVariable("VFIO_BACKEND") ?? nameof(IommuBackend.Type1));

    /// <summary>Opens a device and says what came of it.</summary>
    [Fact(Explicit = true)]
    public void OpenAndTell()
    {
        string told = "opened";
        try
        {
            using Eal eal = VfioGuest.Start(Backend);
            using PciFunction function = eal.OpenNic(s_nic);
        }
        catch (DataplaneException e)
        {
            told = e.Message;
        }
        VfioGuest.WriteWhole(s_file, told);
    }

    /// <summary>Opens a device, lets it loose and stays until it is killed.</summary>
    [Fact(Explicit = true)]
    public void OpenAndStay()
    {
        using Eal eal = VfioGuest.Start(Backend);
        using PciFunction function = eal.OpenNic(s_nic);
        function.MapBar(0);
        if (function.MaxVectors(InterruptKind.MsiX) >= 4)
            function.SetInterrupts(InterruptKind.MsiX, 4);
        function.SetBusMaster(true);
        VfioGuest.WriteWhole(s_file, "open");
        Thread.CurrentThread.Join(TimeSpan.FromMinutes(10));
    }
}
