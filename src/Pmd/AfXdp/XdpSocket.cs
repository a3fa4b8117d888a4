using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>How many entries each ring of a socket has, powers of two; 0 for a direction that is not used.</summary>
internal readonly record struct XdpSlots(uint Rx, uint Tx);

/// <summary>Frames of several buffers.</summary>
internal enum XdpFragments
{
    /// <summary>Not wanted.</summary>
    None,
    /// <summary>Wanted, but not at the price of copying: frames fit a buffer now.</summary>
    Wanted,
    /// <summary>The MTU needs them.</summary>
    Needed,
}

/// <summary>An AF_XDP socket with its four rings mapped. Control path; the data path takes the rings and
/// <see cref="Fd"/>.</summary>
internal sealed unsafe class XdpSocket : IDisposable
{
    private const int BusyPollUs = 20;             // how long one poll may last; the kernel's documentation's own value
    private const uint Budget = 128;               // packets one call sends, 32 where the kernel has no such setting
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(15);

    private readonly string _device;
    private readonly KernelInterface _netdev;
    private readonly List<(nint Address, nuint Bytes)> _maps = [];

    /// <summary>Makes the rings; not bound yet, so that the fill ring can be filled before.</summary>
    /// <param name="device">The port's name, for messages.</param>
    /// <param name="netdev">The interface.</param>
    /// <param name="handle">A new socket; owned from here on.</param>
    /// <param name="umem">The memory.</param>
    /// <param name="register">False where another socket has registered it.</param>
    /// <param name="slots">Sizes of the rings.</param>
    /// <exception cref="DeviceException">The kernel refuses.</exception>
    internal XdpSocket(string device, KernelInterface netdev, SafeFileHandle handle, Umem umem, bool register,
        XdpSlots slots)
    {
        _device = device;
        _netdev = netdev;
        Handle = handle;
        Umem = umem;
        try
        {
            if (register && !Socket.TrySetOption(handle, Socket.SOL_XDP, IfXdp.XDP_UMEM_REG, umem.Registration))
                throw RefusedMemory();
            // The kernel wants both, used or not.
            uint fill = Math.Max(slots.Rx, 2), completion = Math.Max(slots.Tx, 2);
            Set(IfXdp.XDP_UMEM_FILL_RING, fill, "XDP_UMEM_FILL_RING");
            Set(IfXdp.XDP_UMEM_COMPLETION_RING, completion, "XDP_UMEM_COMPLETION_RING");
            if (slots.Rx != 0)
                Set(IfXdp.XDP_RX_RING, slots.Rx, "XDP_RX_RING");
            if (slots.Tx != 0)
                Set(IfXdp.XDP_TX_RING, slots.Tx, "XDP_TX_RING");
            if (!Socket.TryGetOption(handle, Socket.SOL_XDP, IfXdp.XDP_MMAP_OFFSETS, out xdp_mmap_offsets offsets))
                throw Refused("XDP_MMAP_OFFSETS");
            Fill = new XdpProducer(Map(offsets.fr, fill, sizeof(ulong), IfXdp.XDP_UMEM_PGOFF_FILL_RING));
            Completion = new XdpConsumer(
                Map(offsets.cr, completion, sizeof(ulong), IfXdp.XDP_UMEM_PGOFF_COMPLETION_RING));
            if (slots.Rx != 0)
                Rx = new XdpConsumer(Map(offsets.rx, slots.Rx, sizeof(xdp_desc), IfXdp.XDP_PGOFF_RX_RING));
            if (slots.Tx != 0)
                Tx = new XdpProducer(Map(offsets.tx, slots.Tx, sizeof(xdp_desc), IfXdp.XDP_PGOFF_TX_RING));
            TuneTransmit(slots.Tx);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    internal SafeFileHandle Handle { get; }

    internal int Fd => Socket.Fd(Handle);

    internal Umem Umem { get; }

    /// <summary>The rings as they are before anything is in them.</summary>
    internal XdpProducer Fill { get; }

    /// <inheritdoc cref="Fill"/>
    internal XdpConsumer Completion { get; }

    /// <inheritdoc cref="Fill"/>
    internal XdpConsumer Rx { get; }

    /// <inheritdoc cref="Fill"/>
    internal XdpProducer Tx { get; }

    /// <summary>Tied to its queue.</summary>
    internal bool IsBound { get; private set; }

    /// <summary>Bound, and the driver writes to the mbufs itself.</summary>
    internal bool IsZeroCopy { get; private set; }

    /// <summary>Bound, and frames may be of several buffers.</summary>
    internal bool HasFragments { get; private set; }

    /// <summary>Busy polling is on, and the kernel says so.</summary>
    internal bool BusyPolls { get; private set; }

    /// <summary>The kernel was called to send, and where it busy polls has polled by that. Data path; where two threads
    /// use the socket, one sees it late.</summary>
    internal bool HasPolled { get; set; }

    /// <summary>A socket of one's own.</summary>
    /// <exception cref="DeviceException">EPERM, EAFNOSUPPORT.</exception>
    internal static SafeFileHandle OpenHandle(string device)
    {
        try
        {
            return Socket.Open(Socket.AF_XDP, Socket.SOCK_RAW, 0);
        }
        catch (NativeException e)
        {
            bool right = e.Errno == Errno.EPERM;
            throw new DeviceException($"device '{device}': cannot open an AF_XDP socket",
                why: right ? "that needs CAP_NET_RAW" : "the kernel is built without CONFIG_XDP_SOCKETS",
                fix: right ? "run as root, or take sockets that root serves ('dpctl xdp serve IFACE'): "
                    + $"use_cni=1,dp_path=SOCKET; or: {XdpProgram.SetCapabilities}"
                    : "use net_af_packet", errno: e.Errno);
        }
    }

    /// <summary>Ties it to a queue of the interface: zero-copy where the driver can, else copying.</summary>
    /// <param name="queue">The interface's queue.</param>
    /// <param name="copy">Do not try zero-copy.</param>
    /// <param name="fragments">Whether frames may be of several buffers, where the kernel has that.</param>
    /// <param name="shared">The socket that registered the memory, null for one's own registration.</param>
    /// <exception cref="DeviceException">EBUSY: another socket has the queue; EINVAL: there is no such
    /// queue.</exception>
    internal void Bind(int queue, bool copy, XdpFragments fragments, XdpSocket? shared)
    {
        var address = new sockaddr_xdp
        {
            sxdp_family = Socket.AF_XDP, sxdp_ifindex = (uint)_netdev.Index, sxdp_queue_id = (uint)queue,
        };
        Errno errno = Errno.EINVAL;
        if (shared != null)
        {
            // Its way of copying and waking is that of the socket it shares with.
            address.sxdp_flags = IfXdp.XDP_SHARED_UMEM;
            address.sxdp_shared_umem_fd = (uint)shared.Fd;
            HasFragments = shared.HasFragments;
            errno = BindPatiently(address);
        }
        else
            foreach (ushort flags in Ways(copy, fragments))
            {
                address.sxdp_flags = (ushort)(IfXdp.XDP_USE_NEED_WAKEUP | flags);
                HasFragments = (flags & IfXdp.XDP_USE_SG) != 0;
                errno = BindPatiently(address);
                if (errno is Errno.None or Errno.EBUSY or Errno.ENODEV or Errno.ENETDOWN)
                    break;
            }
        if (errno != Errno.None)
            throw new DeviceException($"device '{_device}': cannot bind to queue {queue} of {_netdev.Name}",
                why: errno switch
                {
                    Errno.EBUSY => "another AF_XDP socket has that queue",
                    Errno.EINVAL => "the interface has no such queue, or cannot share memory with another's",
                    Errno.ENETDOWN => "the interface is down",
                    _ => null,
                },
                fix: errno == Errno.EINVAL ? $"use fewer queues, or give it more: sudo ethtool -L {_netdev.Name} "
                    + "combined N" : null, errno: errno);
        IsBound = true;
        IsZeroCopy = Socket.TryGetOption(Handle, Socket.SOL_XDP, IfXdp.XDP_OPTIONS, out uint options)
            && (options & IfXdp.XDP_OPTIONS_ZEROCOPY) != 0;
    }

    /// <summary>Has the kernel poll the interface's queue on our calls, and rather then than by interrupt; see
    /// <see cref="BusyPolls"/>.</summary>
    /// <param name="budget">Packets in one poll.</param>
    internal void TryBusyPoll(int budget)
    {
        // Without the right to switch it on, it may be on: whoever made the socket may have had it.
        SetBusyPoll(Handle, budget);
        BusyPolls = Socket.TryGetOption(Handle, Socket.SOL_SOCKET, Socket.SO_PREFER_BUSY_POLL, out int prefers)
            && prefers == 1
            && Socket.TryGetOption(Handle, Socket.SOL_SOCKET, Socket.SO_BUSY_POLL, out int time) && time != 0;
    }

    /// <summary>Asks for busy polling.</summary>
    internal static void SetBusyPoll(SafeFileHandle socket, int budget)
    {
        _ = Socket.TrySetOption(socket, Socket.SOL_SOCKET, Socket.SO_PREFER_BUSY_POLL, 1);
        _ = Socket.TrySetOption(socket, Socket.SOL_SOCKET, Socket.SO_BUSY_POLL, BusyPollUs);
        _ = Socket.TrySetOption(socket, Socket.SOL_SOCKET, Socket.SO_BUSY_POLL_BUDGET, budget);
    }

    /// <summary>What the kernel counted. Any thread.</summary>
    internal xdp_statistics ReadStatistics() =>
        Socket.TryGetOption(Handle, Socket.SOL_XDP, IfXdp.XDP_STATISTICS, out xdp_statistics statistics) ? statistics
            : default;

    /// <summary>Unmaps the rings and closes the socket. With copying, the kernel no longer touches the
    /// memory.</summary>
    public void Dispose()
    {
        foreach ((nint address, nuint bytes) in _maps)
            _ = Mman.munmap((void*)address, bytes);   // first: a mapping keeps the socket
        _maps.Clear();
        Handle.Dispose();
    }

    /// <summary>Flags to try, the best first: drivers may know zero-copy and not fragments, kernels before 6.6 know no
    /// fragments.</summary>
    private static List<ushort> Ways(bool copy, XdpFragments fragments)
    {
        var ways = new List<ushort>();
        ushort[] kinds = copy ? [IfXdp.XDP_COPY] : [IfXdp.XDP_ZEROCOPY, IfXdp.XDP_COPY];
        foreach (ushort kind in kinds)
        {
            if (fragments != XdpFragments.None)
                ways.Add((ushort)(kind | IfXdp.XDP_USE_SG));
            if (fragments != XdpFragments.Needed || kind == IfXdp.XDP_COPY)
                ways.Add(kind);
        }
        return ways;
    }

    private Errno BindPatiently(sockaddr_xdp address)
    {
        Errno errno = Errno.None;
        // A closed socket's queue is given up by a worker of the kernel's, a moment later.
        _ = SpinWait.SpinUntil(() => (errno = TryBind(address)) != Errno.EBUSY, s_patience);
        return errno;
    }

    private Errno TryBind(sockaddr_xdp address) => Socket.bind(Fd, &address, (uint)sizeof(sockaddr_xdp)) == 0
        ? Errno.None : (Errno)Marshal.GetLastPInvokeError();

    private void TuneTransmit(uint slots)
    {
        if (slots == 0)
            return;
        _ = Socket.TrySetOption(Handle, Socket.SOL_XDP, IfXdp.XDP_MAX_TX_SKB_BUDGET, Math.Min(slots, Budget));
        // Copying, the kernel counts what is on its way against this. Without CAP_NET_ADMIN the system's limit holds.
        int bytes = (int)slots * (Environment.SystemPageSize + 1024);
        // One that was handed over has what it needs: asking for less would take it away.
        if (!Socket.TrySetOption(Handle, Socket.SOL_SOCKET, Socket.SO_SNDBUFFORCE, bytes)
            && Socket.TryGetOption(Handle, Socket.SOL_SOCKET, Socket.SO_SNDBUF, out int now) && now < bytes)
            _ = Socket.TrySetOption(Handle, Socket.SOL_SOCKET, Socket.SO_SNDBUF, bytes);
    }

    private void Set(int option, uint slots, string name)
    {
        if (!Socket.TrySetOption(Handle, Socket.SOL_XDP, option, slots))
            throw Refused($"{name} of {slots} entries");
    }

    private XdpRingMap Map(in xdp_ring_offset offsets, uint slots, int entryBytes, long at)
    {
        nuint bytes = (nuint)offsets.desc + slots * (nuint)entryBytes;
        void* map = Mman.mmap(null, bytes, Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED | Mman.MAP_POPULATE, Fd,
            at);
        if (map == Mman.MAP_FAILED)
            throw Refused($"mapping a ring of {slots} entries");
        _maps.Add(((nint)map, bytes));
        return new XdpRingMap((byte*)map, offsets, slots);
    }

    private DeviceException RefusedMemory()
    {
        var errno = (Errno)Marshal.GetLastPInvokeError();
        ulong bytes = Umem.Registration.len;
        return new DeviceException($"device '{_device}': the kernel refused {bytes >> 10} KB of pool "
            + $"'{Umem.Pool.Name}' as packet memory",
            why: errno == Errno.ENOBUFS ? "this user may not pin that much memory (ulimit -l)"
                : errno == Errno.EINVAL ? "chunks of any alignment need Linux 5.4" : null,
            fix: errno == Errno.ENOBUFS ? "make the pool smaller, or raise the limit: ulimit -l unlimited, or "
                + XdpProgram.SetCapabilities : null, errno: errno);
    }

    private DeviceException Refused(string what) => new($"device '{_device}', interface {_netdev.Name}: the kernel "
        + $"refused {what}", errno: (Errno)Marshal.GetLastPInvokeError());
}
