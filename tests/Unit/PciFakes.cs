using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>A sysfs with PCI functions, made of files in a temporary directory.</summary>
internal sealed class FakeSysfs : IDisposable
{
    internal string Root { get; } = Directory.CreateTempSubdirectory("pci-test-").FullName;

    public void Dispose() => Directory.Delete(Root, recursive: true);

    internal FakeSysfs With(string path, string text)
    {
        string full = Path.Join(Root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, text + "\n");
        return this;
    }

    internal FakeSysfs WithLink(string path, string target)
    {
        string full = Path.Join(Root, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.CreateSymbolicLink(full, target);
        return this;
    }

    /// <summary>A function with what every one has.</summary>
    internal FakeSysfs Function(string address, string id = "8086:10c9", string @class = "020000",
        string? driver = null, string? group = null, string? netdev = null)
    {
        string directory = Place(address);
        With($"{directory}/vendor", "0x" + id[..4]).With($"{directory}/device", "0x" + id[5..])
            .With($"{directory}/class", "0x" + @class);
        if (driver != null)
            WithLink($"{directory}/driver", $"../../../../bus/pci/drivers/{driver}");
        if (group != null)
            WithLink($"{directory}/iommu_group", $"../../../../kernel/iommu_groups/{group}");
        if (netdev != null)
            With($"{directory}/net/{netdev}/mtu", "1500").With($"class/net/{netdev}/operstate", "up");
        return this;
    }

    internal static string Place(string address) => $"bus/pci/devices/{address}";

    internal PciBus Bus(EalOptions? options = null) => new(options ?? new EalOptions(),
        (device, _) => new FakeFunction(device), sysRoot: Root);
}

/// <summary>A function that is 4096 bytes of configuration space.</summary>
internal sealed class FakeFunction(PciDevice device, int configBytes = 4096) : PciFunction(device, null!)
{
    internal byte[] Config { get; } = new byte[configBytes];

    internal int Disposals { get; private set; }

    internal int Reads { get; private set; }

    internal FakeFunction() : this(new PciDevice { Address = default, Vendor = 0, Device = 0, SysfsPath = "" }) { }

    internal void Put16(int offset, ushort value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(Config.AsSpan(offset), value);

    internal void Put32(int offset, uint value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(Config.AsSpan(offset), value);

    internal void Lose(PortLoss why) => RaiseLost(why);

    public override void ReadConfig(int offset, Span<byte> bytes)
    {
        Reads++;
        if (offset + bytes.Length > Config.Length)
            throw new DeviceException($"no configuration space at {offset:#x}");
        Config.AsSpan(offset, bytes.Length).CopyTo(bytes);
    }

    public override void WriteConfig(int offset, ReadOnlySpan<byte> bytes) => bytes.CopyTo(Config.AsSpan(offset));

    public override ulong BarSizeBytes(int bar) => 0;

    public override Mmio MapBar(int bar) => throw new DeviceException("no BAR");

    public override void ReadBar(int bar, ulong offset, Span<byte> bytes) => throw new DeviceException("no BAR");

    public override void WriteBar(int bar, ulong offset, ReadOnlySpan<byte> bytes) =>
        throw new DeviceException("no BAR");

    public override void SetBusMaster(bool on) => BusMaster = on;

    internal bool? BusMaster { get; private set; }

    public override bool Reset() => true;

    public override int MaxVectors(InterruptKind kind) => 0;

    public override void SetInterrupts(InterruptKind kind, int vectors) => throw new DeviceException("no interrupts");

    public override SafeFileHandle Vector(int index) => throw new DeviceException("no interrupts");

    public override void UnmaskIntX() { }

    public override void Dispose() => Disposals++;
}

/// <summary>A driver for a made-up NIC.</summary>
internal sealed class FakePciDriver(bool fails = false, Defect defect = Defect.TakesAnyArgument) : PciPortDriver
{
    public override string Name => "net_fakepci";

    public override string Help => "none";

    public override IReadOnlyList<PciId> Ids { get; } = [new(0x8086, 0x10c9)];

    public override int DmaAddressBits => 40;

    public override Port Create(PortContext context) => fails ? throw new DeviceException("it does not answer")
        : new FakePort(context, defect);
}
