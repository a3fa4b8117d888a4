namespace Dataplane.Tests;

/// <summary>A container whose kernel is a list: it refuses what a kernel would.</summary>
internal sealed class FakeContainer(Memory memory, IommuBackend backend = IommuBackend.Iommufd)
    : DmaContainer(memory, log: null)
{
    internal List<DmaPiece> Kernel { get; } = [];

    internal List<string> Calls { get; } = [];

    internal IovaRange[] Usable { get; set; } = [new(0, ulong.MaxValue)];

    internal int RefuseMapsFrom { get; set; } = int.MaxValue;

    /// <summary>Closing a function fails, once it is closed.</summary>
    internal bool RefuseClose { get; set; }

    internal bool Closed { get; private set; }

    public override string Backend => DmaBackends.Name(backend);

    public override IovaMode IovaMode => backend == IommuBackend.NoIommu ? IovaMode.Pa : IovaMode.Va;

    private protected override PciFunction OpenCore(PciDevice device)
    {
        Calls.Add($"open {device.Address}");
        return new FakeDmaFunction(device, this);
    }

    private protected override void CloseCore(PciFunction function)
    {
        Assert.True(Functions.Count > 0 || Kernel.Count == 0, "the last device is closed with memory mapped");
        Calls.Add($"close {function.Device.Address}");
        if (RefuseClose)
            throw new NativeException($"planted {function.Device.Address}", Errno.EIO);
    }

    private protected override DmaLimits ReadLimits() => new(Usable, 4096);

    private protected override void MapCore(DmaPiece piece)
    {
        Assert.NotEmpty(Functions);
        if (Maps >= RefuseMapsFrom)
            throw new NativeException("planted", Errno.ENOMEM);
        Assert.DoesNotContain(Kernel, other => other.Overlaps(piece.Address, piece.SizeBytes));
        Assert.Contains(Usable, range => range.Contains(piece.Iova.Value, piece.SizeBytes));
        Kernel.Add(piece);
    }

    private protected override void UnmapCore(DmaPiece piece) => Assert.True(Kernel.Remove(piece));

    private protected override void DisposeCore()
    {
        Assert.Empty(Kernel);
        Closed = true;
    }
}

/// <summary>A function that is only opened and closed.</summary>
internal sealed class FakeDmaFunction(PciDevice device, DmaContainer container) : PciFunction(device, container)
{
    public override void ReadConfig(int offset, Span<byte> bytes) => bytes.Clear();

    public override void WriteConfig(int offset, ReadOnlySpan<byte> bytes)
    {
    }

    public override ulong BarSizeBytes(int bar) => 0;

    public override Mmio MapBar(int bar) => default;

    public override void ReadBar(int bar, ulong offset, Span<byte> bytes) => bytes.Clear();

    public override void WriteBar(int bar, ulong offset, ReadOnlySpan<byte> bytes)
    {
    }

    public override void SetBusMaster(bool on)
    {
    }

    public override bool Reset() => true;

    public override int MaxVectors(InterruptKind kind) => 0;

    public override void SetInterrupts(InterruptKind kind, int vectors)
    {
    }

    public override Microsoft.Win32.SafeHandles.SafeFileHandle Vector(int index) => new();

    public override void UnmaskIntX()
    {
    }

    public override void Dispose() => Container.Close(this);
}
