using System.Diagnostics;
using System.Globalization;
using Dataplane.Native;
using Microsoft.Extensions.Logging;

namespace Dataplane.Tests;

/// <summary>
/// The IOMMU seen at work: a NIC reaches what is mapped, faults on what is not, and goes on after that. An 82574L by
/// hand, its transmit ring the only thing it is told of (datasheet §10.2.6, legacy descriptors §7.2.10).
/// </summary>
[Guest(Machines.Intel)]
public sealed unsafe class IommuFaultTests : IDisposable
{
    private const nuint Bytes = 64 << 10;
    private const ulong Done = 1UL << 32;                     // DD, in a descriptor's second word
    private const ulong Command = 60 | 0x0bUL << 24;          // 60 bytes; EOP, IFCS, RS
    private static RwReg32 Tctl => new(0x0400);
    private static RwReg32 Tdbal => new(0x3800);
    private static RwReg32 Tdbah => new(0x3804);
    private static RwReg32 Tdlen => new(0x3808);
    private static RwReg32 Tdh => new(0x3810);
    private static RwReg32 Tdt => new(0x3818);

    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);

    private readonly Lines _log = new();
    private readonly Eal _eal;
    private readonly byte* _own = (byte*)Mman.mmap(null, Bytes, Mman.PROT_READ | Mman.PROT_WRITE,
        Mman.MAP_PRIVATE | Mman.MAP_ANONYMOUS, -1, 0);

    private readonly ITestOutputHelper _output;

    public IommuFaultTests(ITestOutputHelper output)
    {
        _output = output;
        _eal = Eal.Initialize(EalOptions.Parse(["-l", "0", "-m", "16"], out _), _log);
    }

    public void Dispose()
    {
        _eal.Dispose();
        Assert.DoesNotContain(Directory.EnumerateFiles("/proc/self/fd"),
            fd => new FileInfo(fd).LinkTarget == IommuFaultLog.Node);
        _ = Mman.munmap(_own, Bytes);
    }

    [Theory]
    [InlineData(IommuBackend.Iommufd)]
    [InlineData(IommuBackend.Type1)]
    public void Dma_MappedThenNotThenMapped_WorksThenFaultsThenWorks(IommuBackend backend)
    {
        using DmaContainer container = _eal.Dma.CreateContainer(backend);
        PciDevice device = PciScan.One("/sys", PciAddress.Parse(Guest.Pair("e1000e").First))!;
        PciFunction nic = container.Open(device);
        nic.SetBusMaster(true);
        Mmio registers = nic.MapBar(0);
        container.Map(_own, Bytes);
        ulong iova = container.ToIova(_own).Value;
        Assert.True(Transmits(registers, iova));

        container.Unmap(_own, Bytes);
        using var log = new KernelLog();
        Assert.False(Transmits(registers, iova, Wait(log, device.Address, iova)));
        Assert.Equal(iova, log.FaultAddress & ~0xfffUL);
        Assert.True(SpinWait.SpinUntil(() => nic.Faults > 0 && _log.Any("the IOMMU stopped it"), s_patience),
            $"not reported:\n{_log}");
        _output.WriteLine(_log.ToString());
        Assert.True(_log.Any($"port {device}: the IOMMU stopped it reading at IOVA 0x{iova:x}, not mapped"));
        Assert.True(container.Faults >= 1);

        Assert.True(nic.Reset());
        nic.SetBusMaster(true);
        container.Map(_own, Bytes);
        Assert.True(Transmits(registers, iova));
    }

    // Has the NIC fetch one descriptor from the start of our memory and write it back; whether it did.
    private bool Transmits(Mmio registers, ulong iova, Func<bool>? failed = null)
    {
        ulong* descriptor = (ulong*)_own;
        registers.Write(Tctl, 0);
        Volatile.Write(ref descriptor[0], iova + 4096);
        Volatile.Write(ref descriptor[1], Command);
        registers.Write(Tdbal, (uint)iova);
        registers.Write(Tdbah, (uint)(iova >> 32));
        registers.Write(Tdlen, 128);
        registers.Write(Tdh, 0);
        registers.Write(Tdt, 0);
        registers.Write(Tctl, 1 << 1);   // EN
        registers.Write(Tdt, 1);
        for (long start = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(start).TotalSeconds < 30; Thread.Yield())
            if ((Volatile.Read(ref descriptor[1]) & Done) != 0)
                return true;
            else if (failed?.Invoke() == true)
                return false;
        throw new TimeoutException("neither a descriptor written back nor a fault in the kernel's log");
    }

    /// <summary>Gathers what is logged.</summary>
    private sealed class Lines : ILoggerFactory, ILogger
    {
        private readonly List<string> _lines = [];

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            lock (_lines)
                _lines.Add(formatter(state, exception));
        }

        public void Dispose()
        {
        }

        public override string ToString()
        {
            lock (_lines)
                return string.Join('\n', _lines);
        }

        internal bool Any(string words) => ToString().Contains(words, StringComparison.Ordinal);
    }

    private static Func<bool> Wait(KernelLog log, PciAddress device, ulong iova) => () => log.SawFault(device, iova);

    /// <summary>What the kernel logs from now on. Documentation/ABI/testing/dev-kmsg.</summary>
    private sealed class KernelLog : IDisposable
    {
        private readonly Microsoft.Win32.SafeHandles.SafeFileHandle _fd =
            Fcntl.open("/dev/kmsg", Fcntl.O_RDONLY | Fcntl.O_NONBLOCK | Fcntl.O_CLOEXEC, 0);

        internal KernelLog() => _ = Fcntl.lseek(_fd, 0, Fcntl.SEEK_END);

        internal ulong FaultAddress { get; private set; }

        // DMAR: [DMA Read NO_PASID] Request device [03:00.0] fault addr 0x7f0012340000 [fault reason 0x06] ...
        // (newer kernels write the address with its domain)
        internal bool SawFault(PciAddress device, ulong iova)
        {
            byte[] record = new byte[8192];
            fixed (byte* pointer = record)
                for (nint length; (length = Unistd.read(_fd, pointer, (nuint)record.Length)) > 0;)
                {
                    string text = System.Text.Encoding.UTF8.GetString(record, 0, (int)length);
                    int at = text.IndexOf("fault addr 0x", StringComparison.Ordinal);
                    if (at < 0 || !text.Contains($"{device.ToString()[5..]}] ", StringComparison.Ordinal))
                        continue;
                    string digits = text[(at + 13)..].Split(' ', '\n')[0];
                    FaultAddress = ulong.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
                    if ((FaultAddress & ~0xfffUL) == iova)
                        return true;
                }
            return false;
        }

        public void Dispose() => _fd.Dispose();
    }
}
