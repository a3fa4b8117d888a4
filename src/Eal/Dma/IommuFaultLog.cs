using System.Text;
using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Reports DMA of our functions that an IOMMU stopped. VFIO does not tell of it: it is in the kernel's log alone, which
/// is read here from its end on, on the control thread for interrupts. What the kernel leaves out of its log (it limits
/// its rate), and what this user may not read, is not reported.
/// </summary>
internal sealed unsafe partial class IommuFaultLog : IDisposable
{
    internal const string Node = "/dev/kmsg";

    private const int RecordBytes = 8192;   // more than a record has: kernel/printk/internal.h, PRINTK_MESSAGE_MAX
    private const int RecordsAtOnce = 256;  // then others on the control thread have their turn
    private const long QuietMs = 5000;      // between two messages about one function

    private readonly ILogger _logger;
    private readonly Func<IEnumerable<PciFunction>> _functions;
    private readonly Func<long> _nowMs;
    private readonly Dictionary<PciAddress, long> _told = [];   // when
    private readonly byte[] _record = new byte[RecordBytes];
    private SafeFileHandle? _fd;
    private IDisposable? _registration;

    /// <summary>Makes one that reads nothing yet.</summary>
    /// <param name="logger">Gets the messages.</param>
    /// <param name="functions">Those open now.</param>
    /// <param name="nowMs">Milliseconds of a clock that only goes forward.</param>
    internal IommuFaultLog(ILogger logger, Func<IEnumerable<PciFunction>> functions, Func<long>? nowMs = null)
    {
        _logger = logger;
        _functions = functions;
        _nowMs = nowMs ?? (static () => Environment.TickCount64);
    }

    /// <summary>Reads from here on. Where this user may not, that is said at debug level and nothing else
    /// happens.</summary>
    internal void Start(Interrupts interrupts, string node = Node)
    {
        SafeFileHandle fd = Fcntl.open(node, Fcntl.O_RDONLY | Fcntl.O_NONBLOCK | Fcntl.O_CLOEXEC, 0);
        if (fd.IsInvalid)
        {
            LogUnread(_logger, node, NativeException.FromErrno(node).Errno);
            return;
        }
        try
        {
            _ = Fcntl.lseek(fd, 0, Fcntl.SEEK_END);
            _fd = fd;
            _registration = interrupts.Register(fd, OnReadable);
        }
        catch (NativeException e)
        {
            _fd = null;
            fd.Dispose();
            LogUnread(_logger, node, e.Errno);
        }
    }

    /// <summary>Looks at one record of the kernel's log.</summary>
    internal void Receive(string record)
    {
        if (!IommuFaultLine.TryParse(record, out IommuFaultLine fault))
            return;
        foreach (PciFunction function in _functions())
            if (fault.Means(function.Device.Address))
            {
                function.CountFault();
                Tell(function, fault);
            }
    }

    /// <summary>Reads no more. Not to be called under a lock that the list of functions takes.</summary>
    public void Dispose()
    {
        _registration?.Dispose();
        _fd?.Dispose();
        (_registration, _fd) = (null, null);
    }

    private void OnReadable()
    {
        fixed (byte* record = _record)
            for (int i = 0; i < RecordsAtOnce; i++)
            {
                nint length = Unistd.read(_fd!, record, RecordBytes);
                if (length > 0)
                    Receive(Encoding.UTF8.GetString(record, (int)length));
                else if (length == 0 || NativeException.FromErrno(Node).Errno is not Errno.EPIPE)
                    return;   // EPIPE: some were overwritten before they were read, the next read goes on behind them
            }
    }

    private void Tell(PciFunction function, in IommuFaultLine fault)
    {
        PciAddress address = function.Device.Address;
        long now = _nowMs();
        if (_told.TryGetValue(address, out long before) && now - before < QuietMs)
            return;
        _told[address] = now;
        bool mapped = false;
        string where = fault.Iova is { } iova
            ? $"IOVA 0x{iova:x}, {function.Container.Where(iova, out mapped)}"
            : "an address that the kernel does not tell";
        LogFault(_logger, function.Device, fault.Write ? "writing" : "reading", where, fault.Reason, function.Faults,
            mapped ? "devices may read and write all that is mapped, so the IOMMU's tables are not as they were asked "
                + "for: please report it, with the kernel's log (sudo dmesg)"
                : "no memory was touched, but the device may hang: stop and start its port. A driver gave it a wrong "
                + "address, or the application unmapped memory in use; of a driver of ours please report it");
    }

    [LoggerMessage(LogLevel.Error, "port {Device}: the IOMMU stopped it {Verb} at {Where} ({Reason}); {Count} so far. "
        + "fix: {Fix}. see: docs/setup/iommu.md#faults")]
    private static partial void LogFault(ILogger logger, PciDevice device, string verb, string where, string reason,
        long count, string fix);

    [LoggerMessage(LogLevel.Debug, "faults of the IOMMU will not be reported: {Node} cannot be read ({Errno})")]
    private static partial void LogUnread(ILogger logger, string node, Errno errno);
}
