using Dataplane.Native;

namespace Dataplane.Tests;

/// <summary>A virtual function whose physical one is ours too: it opens only with the token.</summary>
[Guest(Machines.Intel)]
public sealed class VfTokenTests : IDisposable
{
    private const string Token = "14d63f20-8445-11ea-8900-1f9ce7d5650d",
        Other = "14d63f20-8445-11ea-8900-1f9ce7d56500";
    private readonly string _pf = $"/sys/bus/pci/devices/{Guest.Pair("igb").First}";
    private readonly Eal _eal = Start();

    public void Dispose()
    {
        File.WriteAllText(_pf + "/sriov_numvfs", "0");
        _eal.Dispose();
    }

    [Theory]
    [InlineData(IommuBackend.Iommufd)]
    [InlineData(IommuBackend.Type1)]
    public void Open_VirtualFunction_TakesTheToken(IommuBackend backend)
    {
        // Before 6.17 iommufd did not know the token, and asked for none.
        bool asks = backend == IommuBackend.Type1 || Guest.Machine!.Kernel != "6.12";
        File.WriteAllText("/sys/module/vfio_pci/parameters/enable_sriov", "1");
        using DmaContainer pfContainer = _eal.Dma.CreateContainer(backend);
        var pf = (VfioPciFunction)pfContainer.Open(PciScan.One("/sys", PciAddress.Parse(Path.GetFileName(_pf)))!);
        byte[] uuid = Guid.Parse(Token).ToByteArray(bigEndian: true);
        Vfio.Feature(pf.Fd, Vfio.VFIO_DEVICE_FEATURE_SET | Vfio.VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, uuid);
        File.WriteAllText(_pf + "/sriov_numvfs", "1");
        PciAddress address = PciAddress.Parse(Directory.ResolveLinkTarget(_pf + "/virtfn0", false)!.Name);
        PciDevice vf = PciScan.One("/sys", address)!;
        Assert.Equal("vfio-pci", vf.KernelDriver);

        if (asks)
        {
            AssertRefused(backend, vf);
            AssertRefused(backend, vf, "--vfio-vf-token=" + Other);
        }
        using Eal eal = Start("--vfio-vf-token=" + Token);
        using PciFunction function = eal.Dma.CreateContainer(backend).Open(vf);
        Assert.Equal(vf.Address, function.Device.Address);
    }

    private static void AssertRefused(IommuBackend backend, PciDevice vf, params string[] options)
    {
        using Eal eal = Start(options);
        var e = Assert.Throws<DeviceException>(() => eal.Dma.CreateContainer(backend).Open(vf));
        Assert.Equal(Errno.EACCES, e.Errno);
        Assert.Contains("--vfio-vf-token", e.Fix, StringComparison.Ordinal);
    }

    private static Eal Start(params string[] more) => Eal.Initialize(["-l", "0", "-m", "16", .. more], out _);
}
