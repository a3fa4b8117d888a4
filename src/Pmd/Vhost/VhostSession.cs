using System.Numerics;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// One connection of a back end: what the front end says, checked, and the rings that follow from it. Control path,
/// under the port's lock. What breaks the rules throws and ends the connection, no more.
/// </summary>
internal sealed unsafe partial class VhostSession : IDisposable
{
    private const int MaxRingSize = 32768;

    private readonly VhostPort _port;
    private readonly VhostChannel _channel;
    private readonly VhostVring[] _vrings;
    private readonly ulong _offered;
    private VhostMemory? _memory;
    private ulong _protocol;
    private ulong? _features;
    private byte _status;

    internal VhostSession(VhostPort port, VhostChannel channel, ulong offered)
    {
        _port = port;
        _channel = channel;
        _offered = offered;
        _vrings = new VhostVring[2 * port.Info.MaxRxQueues];
        for (int i = 0; i < _vrings.Length; i++)
            _vrings[i] = new VhostVring(i);
    }

    /// <summary>The socket, to wait for.</summary>
    internal SafeFileHandle Handle => _channel.Handle;

    /// <summary>What was agreed on.</summary>
    internal ulong Features => _features ?? 0;

    /// <summary>The MTU the peer was given, 0 before that was said.</summary>
    internal int PeerMtu { get; private set; }

    /// <summary>The memory cannot be taken away under us.</summary>
    internal bool IsSealed => _memory?.IsSealed ?? true;

    /// <summary>Packets can flow in some queue.</summary>
    internal bool IsUp
    {
        get
        {
            foreach (VhostVring vring in _vrings)
                if (IsReady(vring))
                    return true;
            return false;
        }
    }

    /// <summary>Reads and does what is there, some of it: others wait too.</summary>
    /// <exception cref="DataplaneException">The connection is to be ended.</exception>
    internal void Serve()
    {
        const int Some = 32;
        for (int i = 0; i < Some && _channel.TryRead(); i++)
            Do();
    }

    /// <summary>Has every ring that is ready run.</summary>
    internal void ActivateAll()
    {
        foreach (VhostVring vring in _vrings)
            Activate(vring);
    }

    /// <summary>Has no ring run any more.</summary>
    internal void DeactivateAll()
    {
        foreach (VhostVring vring in _vrings)
            Deactivate(vring);
    }

    /// <summary>Tells the peer of rings it broke.</summary>
    /// <returns>The first such, or null.</returns>
    internal (int Index, VhostFault Fault)? TellFaults()
    {
        (int, VhostFault)? first = null;
        foreach (VhostVring vring in _vrings)
            if (vring.Ring is { Fault: not VhostFault.None } broken)
            {
                first ??= (vring.Index, broken.Fault);
                if (vring.Error != null)
                    Eventfd.Signal(vring.Error);
            }
        return first;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        DeactivateAll();
        foreach (VhostVring vring in _vrings)
            vring.Dispose();
        CloseInflight();
        _memory?.Dispose();
        _channel.Dispose();
    }

    private bool Has(int protocolBit) => (_protocol >> protocolBit & 1) != 0;

    private void Do()
    {
        VhostMessageHeader header = _channel.Header;
        bool known = true, replied = false;
        switch (header.Request)
        {
            case VhostRequest.GetFeatures or VhostRequest.GetProtocolFeatures or VhostRequest.GetQueueNum
                or VhostRequest.GetStatus:
                Reply(Answer(header.Request));
                replied = true;
                break;
            case VhostRequest.GetVringBase:
                GetBase();
                replied = true;
                break;
            case VhostRequest.GetInflightFd:
                GetInflight();
                replied = true;
                break;
            case VhostRequest.SetVringKick or VhostRequest.SetVringCall or VhostRequest.SetVringErr:
                SetFile(header.Request);
                break;
            case VhostRequest.SetVringNum or VhostRequest.SetVringBase or VhostRequest.SetVringEnable
                or VhostRequest.SetVringAddr:
                SetRing(header.Request);
                break;
            default:
                known = TrySet(header.Request);
                break;
        }
        if (!replied && (header.Flags & VhostUser.NeedReply) != 0 && Has(VhostUser.ReplyAckBit))
            Reply(known ? 0ul : 1ul);
    }

    private ulong Answer(VhostRequest request) => request switch
    {
        VhostRequest.GetFeatures => _offered,
        VhostRequest.GetProtocolFeatures => VhostPort.ProtocolFeatures,
        VhostRequest.GetQueueNum => (ulong)_vrings.Length / 2,
        _ => _status,
    };

    private bool TrySet(VhostRequest request)
    {
        switch (request)
        {
            case VhostRequest.SetFeatures:
                SetFeatures(_channel.Read<ulong>());
                return true;
            case VhostRequest.SetProtocolFeatures:
                _protocol = _channel.Read<ulong>();
                return (_protocol & ~VhostPort.ProtocolFeatures) == 0 ? true
                    : throw VhostChannel.Broken($"it takes protocol features 0x{_protocol:x} that were not offered");
            case VhostRequest.SetMemTable:
                SetMemory();
                return true;
            case VhostRequest.SetInflightFd:
                SetInflight();
                return true;
            case VhostRequest.SetStatus:
                _status = (byte)_channel.Read<ulong>();
                if (_status == 0)
                    StopAll();
                return true;
            case VhostRequest.ResetOwner or VhostRequest.ResetDevice:
                StopAll();
                return true;
            case VhostRequest.NetSetMtu:
                PeerMtu = (int)Math.Min(_channel.Read<ulong>(), ushort.MaxValue);
                return true;
            default:
                return request == VhostRequest.SetOwner;
        }
    }

    private void Reply<T>(T value, params ReadOnlySpan<int> files) where T : unmanaged =>
        _channel.Send(_channel.Header.Request, VhostUser.Reply, value, files);

    private void SetFeatures(ulong features)
    {
        if ((features & ~_offered) != 0)
            throw VhostChannel.Broken($"it takes features 0x{features & ~_offered:x} that were not offered");
        DeactivateAll();
        _features = features;
        ActivateAll();
    }

    private void SetMemory()
    {
        uint count = _channel.Read<uint>();
        const int RegionsAt = 8;
        if (count > VhostUser.MaxRegions || count != (uint)_channel.Files.Count
            || _channel.Payload.Length < RegionsAt + count * sizeof(VhostRegion))
            throw VhostChannel.Broken($"a memory table of {count} regions came with {_channel.Files.Count} files in "
                + $"{_channel.Payload.Length} bytes");
        ReadOnlySpan<VhostRegion> regions =
            MemoryMarshal.Cast<byte, VhostRegion>(_channel.Payload[RegionsAt..])[..(int)count];
        VhostMemory? memory = count == 0 ? null : VhostMemory.Map(regions, _channel.Files);
        if (memory is { IsSealed: false } && _port.Options.Sealed)
        {
            memory.Dispose();
            throw NotSealed();
        }
        DeactivateAll();
        _memory?.Dispose();
        _memory = memory;
        ActivateAll();
    }

    private static DeviceException NotSealed() =>
        VhostChannel.Broken("it shares memory that can be cut, and sealed=1 wants none such");

    private VhostVring RingOf(uint index) => index < (uint)_vrings.Length ? _vrings[index]
        : throw VhostChannel.Broken($"{_channel.Header.Request} names ring {index} of {_vrings.Length}");

    private void SetFile(VhostRequest request)
    {
        ulong value = _channel.Read<ulong>();
        VhostVring vring = RingOf((uint)(value & VhostUser.RingMask));
        SafeFileHandle? file = (value & VhostUser.NoFile) != 0 ? null : _channel.TakeFile();
        if (file != null && !Eventfd.TryAdopt(file))
        {
            file.Dispose();
            throw VhostChannel.Broken($"the file of {request} is no eventfd");
        }
        Deactivate(vring);
        vring.SetFile(request, file);
        if (request == VhostRequest.SetVringKick)
        {
            vring.IsStarted = true;
            // Without protocol features there is no message to enable a ring.
            vring.IsEnabled |= !VirtioFeatures.Has(Features, VhostUser.ProtocolFeaturesBit);
        }
        Activate(vring);
    }

    private void SetRing(VhostRequest request)
    {
        var state = _channel.Read<vhost_vring_state>();
        VhostVring vring = RingOf(state.index);
        if (request == VhostRequest.SetVringNum
            && (state.num > MaxRingSize || !BitOperations.IsPow2(state.num) || state.num < 2))
            throw VhostChannel.Broken($"ring {state.index} is to have {state.num} descriptors");
        Deactivate(vring);
        switch (request)
        {
            case VhostRequest.SetVringNum:
                vring.Size = (int)state.num;
                break;
            case VhostRequest.SetVringBase:
                vring.Base = state.num;
                break;
            case VhostRequest.SetVringEnable:
                vring.IsEnabled = state.num != 0;
                break;
            default:
                vring.Address = _channel.Read<vhost_vring_addr>();
                break;
        }
        Activate(vring);
    }

    private void GetBase()
    {
        uint index = _channel.Read<uint>();
        VhostVring vring = RingOf(index);
        Deactivate(vring);
        vring.Stop();
        _port.LinkMayHaveChanged();
        Reply(new vhost_vring_state { index = index, num = vring.BaseOr(IsPacked) });
    }

    private void StopAll()
    {
        foreach (VhostVring vring in _vrings)
        {
            Deactivate(vring);
            vring.Stop();
            vring.Base = null;
            vring.IsEnabled = false;
        }
        _port.LinkMayHaveChanged();
    }

    private bool IsPacked => VirtioFeatures.Has(Features, VirtioConfig.VIRTIO_F_RING_PACKED);

    private bool IsReady(VhostVring vring) =>
        vring is { IsStarted: true, IsEnabled: true, Size: > 0, Address: not null }
        && _memory != null && _features != null;

    private void Activate(VhostVring vring)
    {
        if (IsReady(vring) && vring.Ring == null)
        {
            // Checked also while the port is stopped: so that its start cannot fail.
            VhostRingSetup setup = Describe(vring);
            if (_port.IsServing(vring.Index))
            {
                vring.Ring = VhostRing.Create(setup);
                _port.SetRing(vring.Index, vring.Ring, vring.Kick);
            }
        }
        _port.LinkMayHaveChanged();
    }

    private void Deactivate(VhostVring vring)
    {
        if (vring.Ring == null)
            return;
        _port.SetRing(vring.Index, null, null);
        vring.Base = vring.Ring.Base;
        vring.Ring.Dispose();
        vring.Ring = null;
    }

    private VhostRingSetup Describe(VhostVring vring)
    {
        vhost_vring_addr address = vring.Address!.Value;
        (ulong driver, ulong device) = IsPacked ? (PackedVhostRing.EventBytes, PackedVhostRing.EventBytes)
            : SplitVhostRing.Bytes(vring.Size);
        var setup = new VhostRingSetup
        {
            Memory = _memory!,
            Features = Features,
            Size = vring.Size,
            Table = Find(vring, address.desc_user_addr, 16 * (ulong)vring.Size, 16),
            Driver = Find(vring, address.avail_user_addr, driver, IsPacked ? 4u : 2u),
            Device = Find(vring, address.used_user_addr, device, 4),
            Inflight = InflightOf(vring),
            Base = vring.BaseOr(IsPacked),
            Writable = vring.Index % 2 == 0,
            Call = vring.Call == null ? -1 : Socket.Fd(vring.Call),
        };
        return setup;
    }

    private byte* Find(VhostVring vring, ulong address, ulong bytes, ulong alignment)
    {
        byte* at = _memory!.AtUser(address, bytes);
        return at != null && (nuint)at % alignment == 0 ? at
            : throw VhostChannel.Broken($"a part of ring {vring.Index}, {bytes} bytes at 0x{address:x}, does not "
                + "lie in the memory it shares");
    }
}
