using System.Reflection;
using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Registers of the family, and what a device that is none makes of its driver.</summary>
public sealed unsafe class IntelRegsTests
{
    [Theory]
    [InlineData(nameof(IntelRegs))]
    [InlineData(nameof(StatRegs))]
    [InlineData(nameof(IgbRegs))]
    [InlineData(nameof(IgbvfRegs))]
    [InlineData(nameof(E1000eRegs))]
    public void Registers_OfAList_AreAlignedInRangeAndTheirOwn(string list)
    {
        Type type = typeof(IntelRegs).Assembly.GetType($"Dataplane.Pmd.{list}")!;
        var seen = new Dictionary<uint, string>();
        foreach ((string name, uint offset) in Enumerate(type))
        {
            Assert.True(offset % 4 == 0 && offset < NicFunction.BarBytes, $"{name} is at {offset:#x}");
            Assert.True(seen.TryAdd(offset, name), $"{name} is where {seen.GetValueOrDefault(offset)} is");
        }
        Assert.InRange(seen.Count, 10, 500);
    }

    [Fact]
    public void Create_DeviceReadsAllOnesOrZeros_SaysItDoesNotAnswer()
    {
        using var rig = new Opened();
        foreach (byte value in (byte[])[0xff, 0])
        {
            new Span<byte>(rig.Nic.Bar, NicFunction.BarBytes).Fill(value);
            foreach (PciPortDriver driver in (PciPortDriver[])[new IgbPmd(), new E1000ePmd()])
                Assert.Contains("does not answer",
                    Assert.Throws<DeviceException>(() => driver.Create(rig.Context)).What);
        }
    }

    [Fact]
    public void Create_ResetNeverEnds_NamesTheRegister()
    {
        using var rig = new Opened();
        *(uint*)(rig.Nic.Bar + 8) = 0x80000;     // STATUS: it may write memory
        foreach (PciPortDriver driver in (PciPortDriver[])[new IgbPmd(), new E1000ePmd()])
            Assert.Contains("register 0x0", Assert.Throws<DeviceException>(() => driver.Create(rig.Context)).What);
    }

    [Fact]
    public void Create_WithoutFunction_SaysHowToNameOne()
    {
        using var rig = new Opened();
        ConfigException e = Assert.Throws<ConfigException>(
            () => new IgbPmd().Create(rig.Context with { Function = null }));
        Assert.Contains("vfio-pci", e.Fix);
    }

    [Fact]
    public void Addresses_OfALIst_AreInTheirPlaces()
    {
        using var rig = new Opened();
        var device = new IntelDevice("nic", rig.Nic.Registers);
        Assert.True(MacAddress.TryParse("52:54:00:12:34:56", out MacAddress address));
        device.SetAddress(0, address, valid: true);
        device.SetAddress(17, address, valid: true);
        Assert.Equal((0x12005452u, 0x80005634u), (Read(rig, 0x5400), Read(rig, 0x5404)));
        Assert.Equal((0x12005452u, 0x80005634u), (Read(rig, 0x54e8), Read(rig, 0x54ec)));
        Assert.Equal(address, device.ReadAddress());
    }

    [Fact]
    public void Filters_MulticastVlanAndTable_SetTheirBits()
    {
        using var rig = new Opened();
        var device = new IntelDevice("nic", rig.Nic.Registers);
        Assert.True(MacAddress.TryParse("01:00:5e:00:01:02", out MacAddress group));
        device.SetMulticast([group]);
        // Bits 47:36 are the last byte and the upper half of the one before: 0x020.
        Assert.Equal(1u, Read(rig, 0x5200 + 4 * (0x20 >> 5)));
        device.SetVlan(0x123, true);
        Assert.Equal(1u << 3, Read(rig, 0x5600 + 4 * 9));
        device.SetVlan(0x123, false);
        Assert.Equal(0u, Read(rig, 0x5600 + 4 * 9));
        var table = new ushort[128];
        (table[1], table[4]) = (1, 1);
        device.SetRedirection(table, shift: 7);
        Assert.Equal((0x8000u, 0x80u), (Read(rig, 0x5c00), Read(rig, 0x5c04)));
        device.SetHash(Toeplitz.MicrosoftKey, 5);
        Assert.Equal((0xda565a6du, 5u), (Read(rig, 0x5c80), Read(rig, 0x5818)));
    }

    [Fact]
    public void Missed_CollectedBeforeAReset_AreKept()
    {
        using var rig = new Opened();
        var stats = new IntelStats(rig.Nic.Registers);
        *(uint*)(rig.Nic.Bar + StatRegs.Mpc.Offset) = 5;
        stats.Collect();
        *(uint*)(rig.Nic.Bar + StatRegs.Mpc.Offset) = 0;     // as reading and a reset leave it
        Assert.Equal(5ul, stats.ReadMissed(0, default));
    }

    private static uint Read(Opened rig, int offset) => *(uint*)(rig.Nic.Bar + offset);

    private static IEnumerable<(string Name, uint Offset)> Enumerate(Type list)
    {
        const BindingFlags Flags = BindingFlags.Static | BindingFlags.NonPublic;
        foreach (PropertyInfo property in list.GetProperties(Flags))
            yield return (property.Name, OffsetOf(property.GetValue(null)!));
        foreach (MethodInfo method in list.GetMethods(Flags).Where(method => !method.IsSpecialName))
            for (int i = 0; i < 2; i++)
                yield return ($"{method.Name}({i})", OffsetOf(method.Invoke(null, [i])!));
    }

    private static uint OffsetOf(object register) =>
        (uint)register.GetType().GetProperty(nameof(RwReg32.Offset))!.GetValue(register)!;

    private sealed class Opened : IDisposable
    {
        private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        private readonly NicContainer _container;

        internal Opened()
        {
            _container = new NicContainer(_eal.Memory);
            Nic = (NicFunction)_container.Open(new PciDevice
            {
                Address = default, Vendor = 0x8086, Device = 0x10c9, SysfsPath = "",
            });
        }

        internal NicFunction Nic { get; }

        internal PortContext Context => new(_eal, DevArgs.Parse("0000:01:00.0"), 0) { Function = Nic };

        public void Dispose()
        {
            Nic.Dispose();
            _container.Dispose();
            _eal.Dispose();
        }
    }
}
