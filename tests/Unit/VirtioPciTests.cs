using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>Finding a virtio device's registers in what it says of itself.</summary>
public sealed unsafe class VirtioPciTests
{
    [Fact]
    public void Capabilities_OfAModernDevice_AreFound()
    {
        using VirtioFunction function = Modern();
        VirtioPciCapabilities found = VirtioPciCapabilities.Read(function);
        Assert.True(found.IsModern);
        Assert.Equal(new VirtioPciRegion(4, 0x0000, 0x1000), found.Common);
        Assert.Equal(new VirtioPciRegion(4, 0x1000, 1), found.Isr);
        Assert.Equal(new VirtioPciRegion(4, 0x2000, 0x1000), found.Device);
        Assert.Equal(new VirtioPciRegion(4, 0x3000, 0x1000, 4), found.Notify);
    }

    [Theory]
    [InlineData(0, 3, 9)]           // a type there is not
    [InlineData(0, 4, 6)]           // a BAR there cannot be
    [InlineData(0, 4, 0)]           // a BAR that is not there
    [InlineData(0, 8, 2)]           // not on a multiple of 4
    [InlineData(0, 13, 0)]          // too short
    [InlineData(0, 10, 1)]          // outside the BAR
    [InlineData(3, 2, 16)]          // a notification capability without its multiplier
    public void Capabilities_OneOfNonsense_IsPassedOver(int capability, int offset, byte value)
    {
        using VirtioFunction function = Modern();
        function.Config[0x40 + 20 * capability + offset] = value;
        Assert.False(VirtioPciCapabilities.Read(function).IsModern);
    }

    [Fact]
    public void Device_WithoutCapabilities_IsRefusedAsLegacy()
    {
        using VirtioFunction function = Modern();
        function.Config[0x06] = 0;
        DeviceException e = Assert.Throws<DeviceException>(() => new VirtioPciTransport(function));
        Assert.Contains("legacy", e.Why);
        Assert.Contains("disable-legacy=on", e.Fix);
    }

    [Fact]
    public void Capabilities_AnyBytes_AreSurvived()
    {
        for (int seed = 0; seed < 20_000; seed++)
        {
            var random = new Random(seed);
            using VirtioFunction function = Modern();
            for (int i = random.Next(1, 12); i > 0; i--)
                function.Config[random.Next(4) == 0 ? random.Next(256) : random.Next(0x34, 0x90)] =
                    (byte)random.Next(256);
            VirtioPciCapabilities found = VirtioPciCapabilities.Read(function);
            foreach (VirtioPciRegion? region in (VirtioPciRegion?[])[found.Common, found.Notify, found.Device,
                found.Isr])
                if (region is { } r)
                    _ = function.MapBar(r.Bar).Slice(r.Offset, r.Length);
        }
    }

    [Fact]
    public void Registers_OfEveryBlock_AreDistinctAlignedAndInside()
    {
        var seen = new SortedDictionary<uint, string>();
        foreach (System.Reflection.PropertyInfo property in typeof(CommonCfgRegs).GetProperties(
            System.Reflection.BindingFlags.Static | System.Reflection.BindingFlags.NonPublic))
        {
            object register = property.GetValue(null)!;
            var offset = (uint)register.GetType().GetProperty("Offset")!.GetValue(register)!;
            uint width = uint.Parse(register.GetType().Name[5..]) / 8;
            Assert.True(offset % width == 0 && offset + width <= CommonCfgRegs.Bytes, property.Name);
            seen.Add(offset, property.Name);
        }
        Assert.Equal(19, seen.Count);
    }

    /// <summary>Capabilities as QEMU lays them out, in BAR 4: common, ISR, device, notification.</summary>
    private static VirtioFunction Modern()
    {
        var function = new VirtioFunction();
        function.Config[0x06] = 0x10;
        function.Config[0x34] = 0x40;
        ReadOnlySpan<(byte Type, uint Offset, uint Length)> all = [(1, 0, 0x1000), (3, 0x1000, 1), (4, 0x2000, 0x1000),
            (2, 0x3000, 0x1000)];
        for (int i = 0; i < all.Length; i++)
        {
            int at = 0x40 + 20 * i;
            Span<byte> bytes = function.Config.AsSpan(at, 20);
            bytes[0] = 9;
            bytes[1] = (byte)(i == 3 ? 0 : at + 20);
            bytes[2] = (byte)(i == 3 ? 20 : 16);
            bytes[3] = all[i].Type;
            bytes[4] = 4;
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], all[i].Offset);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], all[i].Length);
            BinaryPrimitives.WriteUInt32LittleEndian(bytes[16..], i == 3 ? 4u : 0);
        }
        return function;
    }

    /// <summary>Bytes of configuration space and a BAR of memory.</summary>
    private sealed class VirtioFunction() : PciFunction(new PciDevice { Address = default, Vendor = 0x1af4,
        Device = 0x1041, SysfsPath = "/" }, null!)
    {
        private const uint BarBytes = 0x4000;
        private readonly byte* _bar = (byte*)NativeMemory.AllocZeroed(BarBytes);

        internal byte[] Config { get; } = new byte[256];

        public override void ReadConfig(int offset, Span<byte> bytes) =>
            Config.AsSpan(offset, bytes.Length).CopyTo(bytes);
        public override void WriteConfig(int offset, ReadOnlySpan<byte> bytes) => bytes.CopyTo(Config.AsSpan(offset));
        public override ulong BarSizeBytes(int bar) => bar == 4 ? BarBytes : 0;
        public override Mmio MapBar(int bar) => bar == 4 ? new Mmio(_bar, BarBytes)
            : throw new DeviceException("no BAR");
        public override void ReadBar(int bar, ulong offset, Span<byte> bytes) => throw new DeviceException("no BAR");
        public override void WriteBar(int bar, ulong offset, ReadOnlySpan<byte> bytes) =>
            throw new DeviceException("no BAR");
        public override void SetBusMaster(bool on) { }
        public override bool Reset() => true;
        public override int MaxVectors(InterruptKind kind) => 0;
        public override void SetInterrupts(InterruptKind kind, int vectors) { }
        public override SafeFileHandle Vector(int index) => throw new DeviceException("none");
        public override void UnmaskIntX() { }
        public override void Dispose() => NativeMemory.Free(_bar);
    }
}
