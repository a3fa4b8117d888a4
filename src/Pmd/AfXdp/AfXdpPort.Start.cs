using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>Sockets: made at the start, one for each queue with its receive and transmit side.</summary>
internal sealed partial class AfXdpPort
{
    private XdpSocket?[] _sockets = [];
    private Mempool? _ownPool;   // for a port that only sends
    private InterruptDelay? _delay;

    /// <summary>Any of its queues' drivers writes to mbufs itself.</summary>
    private bool IsZeroCopy => Array.Exists(_sockets, socket => socket is { IsZeroCopy: true });

    /// <summary>In the general path a socket belongs to no queue that could be polled.</summary>
    private bool WantsBusyPoll => Options.BusyBudget != 0 && Program.IsGeneric != true;

    /// <inheritdoc/>
    protected override void OnStart()
    {
        int count = Math.Max(RxQueues.Count, TxQueues.Count);
        _sockets = new XdpSocket?[count];
        var umems = new List<Umem>();
        try
        {
            for (int i = 0; i < count; i++)
                Open(i, umems);
            for (int i = 0; i < RxQueues.Count; i++)
                Program.SetSocket(Options.StartQueue + i, _sockets[i]!.Handle);
        }
        catch (Exception e)
        {
            CloseSockets();
            foreach (RxQueue queue in RxQueues)
                ((AfXdpRxQueue)queue).Drain();
            foreach (TxQueue queue in TxQueues)
                ((AfXdpTxQueue)queue).Drain();
            if (e is NativeException native)
                throw new DeviceException($"device '{Name}': the XSKMAP does not take its sockets", why: native.Message,
                    fix: native.Errno == Errno.EPERM ? "kernels before 5.19 let only root: sysctl "
                        + "kernel.unprivileged_bpf_disabled" : null, errno: native.Errno);
            throw;
        }
        // Who shares the interface with the kernel, or sleeps, has use for its interrupts.
        if (_sockets[0]!.BusyPolls && !Config.RxInterrupts && Options.StartQueue == 0
            && RxQueues.Count == CountQueues())
            _delay = InterruptDelay.TryBegin(Netdev);
        string mode = Describe(Program, _sockets[0]);
        if (mode == _info.Mode)
            return;
        _info = _info with { Mode = mode };
        Report();
    }

    /// <inheritdoc/>
    protected override void OnStop()
    {
        bool zeroCopy = IsZeroCopy;
        foreach (TxQueue queue in TxQueues)
            ((AfXdpTxQueue)queue).Settle();
        foreach (RxQueue queue in RxQueues)
            ((AfXdpRxQueue)queue).Counters.End();
        CloseSockets();
        if (zeroCopy)
            AwaitDevice();
    }

    private void Open(int index, List<Umem> umems)
    {
        var rx = index < RxQueues.Count ? (AfXdpRxQueue)RxQueues[index] : null;
        var tx = index < TxQueues.Count ? (AfXdpTxQueue)TxQueues[index] : null;
        Mempool pool = rx?.Pool ?? (RxQueues.Count > 0 ? RxQueues[0].Pool : OwnPool());
        Umem? umem = umems.Find(umem => umem.Pool == pool);
        if (umem == null)
            umems.Add(umem = new Umem(Name, Eal.Memory, pool));
        XdpSocket? shared = Options.SharedUmem ? FindShared(pool) : null;
        SafeFileHandle handle = _handover?.TakeSocket() ?? XdpSocket.OpenHandle(Name);
        var slots = new XdpSlots((uint)(rx?.Config.Descriptors ?? 0), (uint)(tx?.Config.Descriptors ?? 0));
        var socket = _sockets[index] = new XdpSocket(Name, Netdev, handle, shared?.Umem ?? umem, shared == null, slots);
        // A device sees ordinary pages one by one, and few mbufs lie within one.
        bool copy = Options.ForceCopy || umem.PageBytes <= (nuint)Environment.SystemPageSize;
        bool wanted = (Config.RxOffloads & RxOffloads.Scatter) != 0
            || (Config.TxOffloads & TxOffloads.MultiSegments) != 0;
        XdpFragments fragments = !wanted ? XdpFragments.None
            : Mtu + FrameOverheadBytes > umem.RoomBytes ? XdpFragments.Needed : XdpFragments.Wanted;
        rx?.Open(socket, avoidSplits: !copy);
        socket.Bind(Options.StartQueue + index, copy, fragments, shared);
        if (WantsBusyPoll)
            socket.TryBusyPoll(Options.BusyBudget);
        rx?.Begin();
        tx?.Open(socket);
    }

    /// <summary>A socket, of this port or another, that has the pool's memory and lets others share it.</summary>
    private XdpSocket? FindShared(Mempool pool)
    {
        foreach (Port port in Context.Ports?.Ports ?? [this])
            if (port is AfXdpPort { Options.SharedUmem: true } other && other != this
                && other.FindSocket(pool) is { } found)
                return found;
        return FindSocket(pool);
    }

    private XdpSocket? FindSocket(Mempool pool) =>
        Array.Find(_sockets, socket => socket is { IsBound: true } && socket.Umem.Pool == pool);

    private Mempool OwnPool()
    {
        int most = 1;
        foreach (TxQueue queue in TxQueues)
            most += 2 * queue.Config.Descriptors;
        return _ownPool ??= Mempool.CreateMbufPool(Eal.Memory, $"af_xdp_{Id}", most, cacheSize: 0);
    }

    private void CloseSockets()
    {
        _delay?.Dispose();
        _delay = null;
        foreach (XdpSocket? socket in _sockets)
            socket?.Dispose();
        _sockets = [];
    }

    /// <summary>
    /// Waits until the driver has let go of the mbufs: it does when the kernel's worker takes the queue from it, and
    /// only then can another socket be bound there.
    /// </summary>
    private void AwaitDevice()
    {
        for (int i = 0; i < Math.Max(RxQueues.Count, TxQueues.Count); i++)
        {
            Mempool pool = OwnPool();
            using var probe = new XdpSocket(Name, Netdev, XdpSocket.OpenHandle(Name), new Umem(Name, Eal.Memory, pool),
                register: true, new XdpSlots(2, 0));
            try
            {
                probe.Bind(Options.StartQueue + i, copy: true, XdpFragments.None, shared: null);
            }
            catch (DeviceException e) when (e.Errno is Errno.ENODEV or Errno.ENETDOWN)
            {
                // The interface is gone, and the device with it.
            }
        }
    }

    private void Report()
    {
        LogStarted(_log, Name, Options.Interface, _info.Mode!, _sockets.Length);
        if (WantsBusyPoll && _sockets[0] is { BusyPolls: false })
            LogNoBusyPoll(_log, Name);
        int there = CountQueues();
        if (RxQueues.Count > 0 && Options.StartQueue + RxQueues.Count < there)
            LogFewer(_log, Name, Options.Interface, there, Options.StartQueue, Options.StartQueue + RxQueues.Count - 1);
    }

    [LoggerMessage(LogLevel.Information, "port {Port}: {Interface}, {Mode}, {Queues} socket(s)")]
    private static partial void LogStarted(ILogger logger, string port, string @interface, string mode, int queues);

    [LoggerMessage(LogLevel.Warning, "port {Port}: busy polling could not be switched on, which needs CAP_NET_ADMIN "
        + "and Linux 5.11; interrupts drive it")]
    private static partial void LogNoBusyPoll(ILogger logger, string port);

    [LoggerMessage(LogLevel.Warning, "port {Port}: {Interface} has {There} receive queues, the port those "
        + "from {First} to {Last}: packets of the others go to the kernel")]
    private static partial void LogFewer(ILogger logger, string port, string @interface, int there, int first,
        int last);
}
