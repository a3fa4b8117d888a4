namespace Dataplane.Tests;

/// <summary>
/// The kernel's side of binding: drivers take functions by override or by id when told to probe, VFIO makes its files,
/// virtual functions come and go.
/// </summary>
internal sealed class FakeKernel
{
    internal const string Bus = "/sys/bus/pci";

    private readonly FakeHost _host;
    private readonly Dictionary<string, string> _own = [];   // which driver of the kernel takes a function

    internal FakeKernel(FakeHost host)
    {
        _host = host;
        host.With($"{Bus}/drivers/vfio-pci/bind", "").With("/dev/vfio/vfio", "").With("/dev/iommu", "")
            .With("/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/home/ann:/bin/sh")
            .With("/etc/security/limits.d/README", "").With("/etc/udev/rules.d/README", "")
            .With("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N");
        host.Written = OnWritten;
    }

    /// <summary>vfio-pci refuses these.</summary>
    internal HashSet<string> Refused { get; } = [];

    /// <summary>A function that the kernel's driver has.</summary>
    internal FakeKernel Function(string address, string? driver = "igb", string? netdev = null, int? group = null,
        string id = "8086:10c9", string @class = "020000")
    {
        string place = $"{Bus}/devices/{address}";
        _host.With($"{place}/vendor", "0x" + id[..4]).With($"{place}/device", "0x" + id[5..])
            .With($"{place}/class", "0x" + @class).With($"{place}/driver_override", "(null)");
        if (group != null)
            _host.With($"/sys/kernel/iommu_groups/{group}/type", "DMA").WithLink($"{place}/iommu_group",
                $"../../../../kernel/iommu_groups/{group}");
        if (netdev != null)
            _host.With($"{place}/net/{netdev}/mtu", "1500").With($"/sys/class/net/{netdev}/operstate", "up");
        if (driver != null)
        {
            _own[address] = driver;
            Attach(address, driver);
        }
        return this;
    }

    internal string? DriverOf(string address) =>
        Path.GetFileName(_host.LinkTarget($"{Bus}/devices/{address}/driver"));

    private void Attach(string address, string driver)
    {
        _host.With($"{Bus}/drivers/{driver}/bind", "").WithLink($"{Bus}/devices/{address}/driver",
            $"../../../../bus/pci/drivers/{driver}");
        if (driver != "vfio-pci")
            return;
        string? group = Path.GetFileName(_host.LinkTarget($"{Bus}/devices/{address}/iommu_group"));
        if (group == null)
        {
            group = "0";
            _host.With("/sys/kernel/iommu_groups/0/name", "vfio-noiommu")
                .WithLink($"{Bus}/devices/{address}/iommu_group", "../../../../kernel/iommu_groups/0");
            _host.With("/dev/vfio/noiommu-0", "");
        }
        else
        {
            _host.With($"/dev/vfio/{group}", "").With($"/dev/vfio/devices/vfio{group}", "");
            _host.With($"{Bus}/devices/{address}/vfio-dev/vfio{group}/dev", "511:0");
        }
    }

    private void OnWritten(string path, string text)
    {
        if (path == $"{Bus}/drivers_probe" && DriverOf(text) == null)
            Probe(text);
        else if (path.EndsWith("/driver/unbind", StringComparison.Ordinal))
        {
            File.Delete(_host.Real($"{Bus}/devices/{text}/driver"));
            if (Directory.Exists(_host.Real($"{Bus}/devices/{text}/vfio-dev")))
                Directory.Delete(_host.Real($"{Bus}/devices/{text}/vfio-dev"), recursive: true);
        }
        else if (path.EndsWith("/sriov_numvfs", StringComparison.Ordinal))
            SetVirtualFunctions(Path.GetDirectoryName(path)!, int.Parse(text, null));
    }

    private void Probe(string address)
    {
        string wanted = _host.Read($"{Bus}/devices/{address}/driver_override")!;
        bool hasNoIommu = _host.Read("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y";
        if (wanted == "vfio-pci")
        {
            if (!Refused.Contains(address)
                && (hasNoIommu || _host.Exists($"{Bus}/devices/{address}/iommu_group")))
                Attach(address, wanted);
        }
        else if (_own.TryGetValue(address, out string? own))
            Attach(address, own);
    }

    private void SetVirtualFunctions(string parent, int count)
    {
        string address = Path.GetFileName(parent);
        for (int i = 0; i < 8; i++)
        {
            string virtualAddress = $"{address[..8]}10.{i}";
            if (i >= count)
            {
                File.Delete(_host.Real($"{parent}/virtfn{i}"));
                if (Directory.Exists(_host.Real($"{Bus}/devices/{virtualAddress}")))
                    Directory.Delete(_host.Real($"{Bus}/devices/{virtualAddress}"), recursive: true);
                continue;
            }
            bool probes = _host.Read($"{parent}/sriov_drivers_autoprobe") == "1";
            Function(virtualAddress, probes ? "igbvf" : null, group: 50 + i, id: "8086:10ca");
            _host.WithLink($"{Bus}/devices/{virtualAddress}/physfn", $"../{address}")
                .WithLink($"{parent}/virtfn{i}", $"../{virtualAddress}");
        }
    }
}
