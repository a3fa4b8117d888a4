using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>Finding a back end, telling it of memory and rings, and noticing that it has gone. Under the
/// lock.</summary>
internal sealed unsafe partial class VhostUserTransport
{
    private const int TimeoutMs = 5000;
    private static readonly ulong s_protocol = VirtioFeatures.Of(VhostUser.MultiQueueBit, VhostUser.ReplyAckBit,
        VhostUser.StatusBit, VhostUser.InflightBit);

    private readonly UnixSocket? _listener;
    private readonly List<Memseg> _segments = [];
    private VhostChannel? _channel;
    private SafeFileHandle? _inflight;
    private VhostInflightDescription _inflightIs;
    private ulong _offered, _agreed;   // by the back end: features; protocol features of both
    private int _backEndPairs;
    private bool _isSetUp, _unfit, _told;

    private bool Has(int protocolBit) => (_agreed >> protocolBit & 1) != 0;

    /// <summary>Looks whether the back end is still there, or one has come.</summary>
    private void Meet()
    {
        if (TryReach() is { } socket)
            Take(socket);
    }

    /// <summary>The same without waiting for anybody.</summary>
    /// <returns>One who has come.</returns>
    private UnixSocket? TryReach()
    {
        if (_channel != null)
            Try(LookForEnd);
        return _channel == null ? Reach() : null;
    }

    private void Take(UnixSocket socket)
    {
        if (_disposed || _channel != null)
        {
            socket.Dispose();
            return;
        }
        _channel = new VhostChannel(socket);
        Try(Greet);
    }

    private UnixSocket? Reach()
    {
        try
        {
            return _listener != null ? _listener.Accept() : UnixSocket.Connect(_options.Path, Socket.SOCK_STREAM);
        }
        catch (NativeException e)
        {
            if (!_told)
                LogAbsent(_log, _name, _options.Path, e.Errno);
            _told = true;
            return null;
        }
    }

    /// <summary>Does what ends the connection where it fails, and nothing else.</summary>
    private void Try(Action step)
    {
        try
        {
            step();
        }
        catch (DataplaneException e)
        {
            LogGone(_log, _name, e.Why == null ? e.What : $"{e.What}: {e.Why}");
            _channel?.Dispose();
            _channel = null;
            SetLink(false);
        }
    }

    private void SetLink(bool up)
    {
        if (up == _isSetUp)
            return;
        Volatile.Write(ref _isSetUp, up);
        Eventfd.Signal(_changed);
    }

    private void LookForEnd()
    {
        if (_channel!.TryRead())
            throw VhostChannel.Broken($"{_channel.Header.Request} came, which nobody asked for");
    }

    private void Greet()
    {
        _agreed = 0;
        int pairs = _options.Queues;
        Send(VhostRequest.SetOwner);
        _offered = Ask(VhostRequest.GetFeatures);
        if (VirtioFeatures.Has(_offered, VhostUser.ProtocolFeaturesBit))
        {
            _agreed = Ask(VhostRequest.GetProtocolFeatures) & s_protocol;
            _channel!.Send(VhostRequest.SetProtocolFeatures, 0, _agreed);
            if (Has(VhostUser.MultiQueueBit))
                pairs = (int)Math.Clamp(Ask(VhostRequest.GetQueueNum), 1, (ulong)_options.Queues);
        }
        Volatile.Write(ref _backEndPairs, pairs);
        _told = false;
        LogConnected(_log, _name, _options.Path);
        if (IsRunning)
            SetUp();
    }

    /// <summary>Tells a back end all, from nothing.</summary>
    private void SetUp()
    {
        ulong features = _features | (_offered & VirtioFeatures.Of(VhostUser.ProtocolFeaturesBit));
        int pairs = 0;
        foreach (Virtqueue? queue in _queues)
            pairs = queue == null ? pairs : Math.Max(pairs, queue.Index / 2 + 1);
        if ((features & ~_offered) != 0 || pairs > _backEndPairs)
        {
            _unfit = true;
            throw new DeviceException("the back end is another than the port was started for", (features & ~_offered)
                != 0 ? $"it lacks features 0x{features & ~_offered:x}" : $"it has {_backEndPairs} queue pairs",
                "stop the port and start it again");
        }
        _channel!.Send(VhostRequest.SetFeatures, 0, features);
        SendMemory();
        if (Has(VhostUser.InflightBit))
            SendInflight();
        foreach (Virtqueue? queue in _queues)
            if (queue != null)
                SendQueue(queue);
        if (VirtioFeatures.Has(_offered, VhostUser.ProtocolFeaturesBit))
            foreach (Virtqueue? queue in _queues)
                if (queue != null)
                    Set(VhostRequest.SetVringEnable, State(queue, 1));
        if (Has(VhostUser.StatusBit))
            Set(VhostRequest.SetStatus, (ulong)_status);
        SetLink(true);
        foreach (Virtqueue? queue in _queues)
            if (queue != null)
                Notify(queue);
    }

    private void SendQueue(Virtqueue queue)
    {
        ulong at = (ulong)queue.Memory;
        Set(VhostRequest.SetVringNum, State(queue, (uint)queue.Size));
        Set(VhostRequest.SetVringBase, State(queue, queue.DevicePosition));
        Set(VhostRequest.SetVringAddr, new vhost_vring_addr
        {
            index = (uint)queue.Index,
            desc_user_addr = at,
            avail_user_addr = at + queue.Layout.DriverOffset,
            used_user_addr = at + queue.Layout.DeviceOffset,
        });
        Set(VhostRequest.SetVringCall, (ulong)queue.Index, Socket.Fd(_calls[queue.Index]));
        Set(VhostRequest.SetVringKick, (ulong)queue.Index, Socket.Fd(_kicks[queue.Index]));
    }

    private void StopRings()
    {
        SetLink(false);
        foreach (Virtqueue? queue in _queues)
        {
            if (queue == null)
                continue;
            if (VirtioFeatures.Has(_offered, VhostUser.ProtocolFeaturesBit))
                Set(VhostRequest.SetVringEnable, State(queue, 0));
            _channel!.Send(VhostRequest.GetVringBase, 0, State(queue, 0));
            _channel.WaitReply(VhostRequest.GetVringBase, TimeoutMs);
        }
        if (Has(VhostUser.StatusBit))
            Set(VhostRequest.SetStatus, 0ul);
    }

    /// <summary>Shares all memory: a region for each stretch that lies in one piece here and in its file.</summary>
    private void SendMemory()
    {
        var regions = new List<(VhostRegion Region, int Fd)>();
        _segments.Sort((a, b) => a.Address.CompareTo(b.Address));
        foreach (Memseg one in _segments)
        {
            if (regions.Count > 0 && regions[^1] is var (last, fd) && fd == one.Fd
                && last.GuestAddress + last.Bytes == one.Address
                && last.FileOffset + last.Bytes == (ulong)one.FdOffset)
            {
                regions[^1] = (last with { Bytes = last.Bytes + one.SizeBytes }, fd);
                continue;
            }
            regions.Add((new VhostRegion { GuestAddress = one.Address, UserAddress = one.Address,
                Bytes = one.SizeBytes, FileOffset = (ulong)one.FdOffset }, one.Fd));
        }
        if (regions.Count > VhostUser.MaxRegions)
            throw new DeviceException($"memory is in {regions.Count} pieces",
                $"a vhost-user back end takes {VhostUser.MaxRegions} at most",
                "take all memory at start: -m MEGABYTES, or --numa-mem");
        var payload = new byte[8 + regions.Count * sizeof(VhostRegion)];
        var files = new int[regions.Count];
        MemoryMarshal.Write(payload, regions.Count);
        for (int i = 0; i < files.Length; i++)
        {
            VhostRegion region = regions[i].Region;
            MemoryMarshal.Write(payload.AsSpan(8 + i * sizeof(VhostRegion)), in region);
            files[i] = regions[i].Fd;
        }
        uint flags = Has(VhostUser.ReplyAckBit) ? VhostUser.NeedReply : 0;
        _channel!.Send(VhostRequest.SetMemTable, flags, payload, files);
        Acknowledged(VhostRequest.SetMemTable, flags);
    }

    /// <summary>The first back end makes memory for what is in flight; those after it get it from us.</summary>
    private void SendInflight()
    {
        if (_inflight == null)
        {
            var wanted = new VhostInflightDescription
                { Queues = (ushort)_queues.Length, QueueSize = (ushort)_options.QueueSize };
            _channel!.Send(VhostRequest.GetInflightFd, 0, wanted);
            _channel.WaitReply(VhostRequest.GetInflightFd, TimeoutMs);
            _inflightIs = _channel.Read<VhostInflightDescription>();
            if (_inflightIs.Bytes == 0)
                return;
            _inflight = _channel.TakeFile();
        }
        Set(VhostRequest.SetInflightFd, _inflightIs, Socket.Fd(_inflight));
    }

    private void CloseInflight()
    {
        _inflight?.Dispose();
        _inflight = null;
    }

    private static vhost_vring_state State(Virtqueue queue, uint number) =>
        new() { index = (uint)queue.Index, num = number };

    private void Send(VhostRequest request) => _channel!.Send(request, 0, ReadOnlySpan<byte>.Empty);

    private ulong Ask(VhostRequest request)
    {
        Send(request);
        _channel!.WaitReply(request, TimeoutMs);
        return _channel.Read<ulong>();
    }

    private void Set<T>(VhostRequest request, T value, params ReadOnlySpan<int> files) where T : unmanaged
    {
        uint flags = Has(VhostUser.ReplyAckBit) ? VhostUser.NeedReply : 0;
        _channel!.Send(request, flags, value, files);
        Acknowledged(request, flags);
    }

    private void Acknowledged(VhostRequest request, uint flags)
    {
        if (flags == 0)
            return;
        _channel!.WaitReply(request, TimeoutMs);
        if (_channel.Read<ulong>() != 0)
            throw new DeviceException($"the back end refuses {request}");
    }

    [LoggerMessage(LogLevel.Information, "port {Port}: a back end is connected at {Path}")]
    private static partial void LogConnected(ILogger logger, string port, string path);

    [LoggerMessage(LogLevel.Warning, "port {Port}: the back end is gone: {Why}")]
    private static partial void LogGone(ILogger logger, string port, string why);

    [LoggerMessage(LogLevel.Warning, "port {Port}: nobody listens at {Path} yet ({Errno}); trying on")]
    private static partial void LogAbsent(ILogger logger, string port, string path, Errno errno);
}
