using System.Diagnostics;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>A virtio device on PCI, by its modern interface. VIRTIO 1.2 §4.1.</summary>
internal sealed unsafe class VirtioPciTransport : VirtioTransport
{
    private const int ResetTimeoutMs = 10_000, GoneTimeoutMs = 200;

    private readonly PciFunction _function;
    private readonly Mmio _common, _notify, _isr, _device;
    private readonly uint _notifyMultiplier;
    private readonly DmaAddressing _addressing;
    private uint[] _notifyOffsets = [];   // by queue
    private InterruptKind _interrupts;
    private bool _notificationData;

    /// <summary>Finds the device's registers. The caller keeps the function, and this object takes it over only when it
    /// was made.</summary>
    /// <exception cref="DeviceException">It is no modern device, or does not make sense.</exception>
    internal VirtioPciTransport(PciFunction function)
    {
        _function = function;
        VirtioPciCapabilities found = VirtioPciCapabilities.Read(function);
        if (!found.IsModern)
            throw new DeviceException($"{function.Device} cannot be driven",
                why: "it is a legacy virtio device, or hides its modern registers: it lists no common, notification "
                    + "and device structure in memory BARs (VIRTIO 1.2 §4.1.4)",
                fix: "give the virtual machine a modern one: virtio-net-pci,disable-modern=off (in QEMU), or "
                    + "disable-legacy=on, which also puts it behind the IOMMU with iommu_platform=on",
                see: "src/Pmd/Virtio/README.md");
        (_common, _notify) = (Map(found.Common!.Value), Map(found.Notify!.Value));
        _device = Map(found.Device!.Value);
        _isr = found.Isr is { } isr ? Map(isr) : default;
        _notifyMultiplier = found.Notify!.Value.NotifyMultiplier;
        _addressing = new DmaAddressing(function.Container);
    }

    /// <inheritdoc/>
    internal override DmaAddressing Addressing => _addressing;

    /// <inheritdoc/>
    internal override bool NeedsAccessPlatform => _function.Container.IovaMode == IovaMode.Va;

    /// <inheritdoc/>
    internal override ulong ToIova(void* pointer)
    {
        Iova iova = _function.Container.ToIova(pointer);
        return iova != Iova.Bad ? iova.Value : throw new DeviceException(
            $"{_function.Device} cannot reach the memory of a virtqueue",
            why: $"it is not mapped in the {_function.Container.Backend} container");
    }

    /// <inheritdoc/>
    internal override byte Status
    {
        get => _common.Read(CommonCfgRegs.DeviceStatus);
        set => _common.Write(CommonCfgRegs.DeviceStatus, value);
    }

    /// <inheritdoc/>
    internal override int ConfigBytes => (int)Math.Min(_device.SizeBytes, (ulong)sizeof(virtio_net_config));

    /// <inheritdoc/>
    internal override int QueueCount => _common.Read(CommonCfgRegs.QueueCount);

    /// <inheritdoc/>
    internal override int MaxVectors => _function.MaxVectors(InterruptKind.MsiX) is > 0 and var vectors ? vectors
        : _isr.IsMapped ? Math.Min(1, _function.MaxVectors(InterruptKind.IntX)) : 0;

    /// <inheritdoc/>
    /// <remarks>Drivers must wait until it reads back 0 (§4.1.4.3.2); a device that is gone reads all ones.</remarks>
    internal override void Reset()
    {
        Status = 0;
        long start = Stopwatch.GetTimestamp();
        for (byte status = Status; status != 0; status = Status)
        {
            int most = status == 0xff ? GoneTimeoutMs : ResetTimeoutMs;     // no status has all bits
            if (Stopwatch.GetElapsedTime(start).TotalMilliseconds > most)
                throw new DeviceException($"{_function.Device} does not reset",
                    why: $"its device_status still reads 0x{status:x2} after {most} ms (VIRTIO 1.2 §2.4)",
                    fix: status == 0xff ? "all ones: the device is gone or powered down" : "reset the machine");
            Thread.Yield();
        }
        _function.SetBusMaster(true);   // not before: whoever had it last may have left it running
    }

    /// <inheritdoc/>
    internal override ulong ReadFeatures()
    {
        _common.Write(CommonCfgRegs.DeviceFeatureSelect, 0);
        ulong features = _common.Read(CommonCfgRegs.DeviceFeature);
        _common.Write(CommonCfgRegs.DeviceFeatureSelect, 1);
        return features | (ulong)_common.Read(CommonCfgRegs.DeviceFeature) << 32;
    }

    /// <inheritdoc/>
    internal override void WriteFeatures(ulong features)
    {
        _common.Write(CommonCfgRegs.DriverFeatureSelect, 0);
        _common.Write(CommonCfgRegs.DriverFeature, (uint)features);
        _common.Write(CommonCfgRegs.DriverFeatureSelect, 1);
        _common.Write(CommonCfgRegs.DriverFeature, (uint)(features >> 32));
        _notificationData = VirtioFeatures.Has(features, VirtioConfig.VIRTIO_F_NOTIFICATION_DATA);
    }

    /// <inheritdoc/>
    /// <remarks>§2.5.1: read again while the generation changes; a device that never rests is read as it is.</remarks>
    internal override void ReadConfig(int offset, Span<byte> bytes)
    {
        for (int tries = 0; tries < 100; tries++)
        {
            byte generation = _common.Read(CommonCfgRegs.ConfigGeneration);
            for (int i = 0; i < bytes.Length; i++)
                bytes[i] = offset + i < ConfigBytes ? _device.Read(new RoReg8((uint)(offset + i))) : (byte)0;
            if (_common.Read(CommonCfgRegs.ConfigGeneration) == generation)
                return;
        }
    }

    /// <inheritdoc/>
    internal override int MaxQueueSize(int index)
    {
        if (index >= QueueCount)
            return 0;
        _common.Write(CommonCfgRegs.QueueSelect, (ushort)index);
        return _common.Read(CommonCfgRegs.QueueSize);
    }

    /// <inheritdoc/>
    internal override void EnableQueue(Virtqueue queue, int vector)
    {
        _common.Write(CommonCfgRegs.QueueSelect, (ushort)queue.Index);
        ushort size = _common.Read(CommonCfgRegs.QueueSize);
        if (queue.Index >= QueueCount || queue.Size > size)
            throw Refused(queue, $"it has room for {size} descriptors, not {queue.Size}");
        ulong offset = (ulong)_common.Read(CommonCfgRegs.QueueNotifyOffset) * _notifyMultiplier;
        uint width = _notificationData ? 4u : 2u;
        if (offset % width != 0 || offset + width > _notify.SizeBytes)
            throw Refused(queue, 
                $"its place to notify, {offset:#x}, is outside the {_notify.SizeBytes:#x} bytes there are");
        if (queue.Index >= _notifyOffsets.Length)
            Array.Resize(ref _notifyOffsets, queue.Index + 1);
        _notifyOffsets[queue.Index] = (uint)offset;
        _common.Write(CommonCfgRegs.QueueSize, (ushort)queue.Size);
        Write64(CommonCfgRegs.QueueDescLow, CommonCfgRegs.QueueDescHigh, queue.MemoryIova);
        Write64(CommonCfgRegs.QueueDriverLow, CommonCfgRegs.QueueDriverHigh,
            queue.MemoryIova + queue.Layout.DriverOffset);
        Write64(CommonCfgRegs.QueueDeviceLow, CommonCfgRegs.QueueDeviceHigh,
            queue.MemoryIova + queue.Layout.DeviceOffset);
        if (_interrupts == InterruptKind.MsiX)
        {
            ushort wanted = vector < 0 ? VirtioPci.VIRTIO_MSI_NO_VECTOR : (ushort)vector;
            _common.Write(CommonCfgRegs.QueueVector, wanted);
            if (_common.Read(CommonCfgRegs.QueueVector) != wanted)
                throw Refused(queue, $"it does not take interrupt vector {wanted}");
        }
        _common.Write(CommonCfgRegs.QueueEnable, 1);
    }

    /// <inheritdoc/>
    internal override void Notify(Virtqueue queue)
    {
        uint at = _notifyOffsets[queue.Index];
        if (_notificationData)
            _notify.Write(new RwReg32(at), queue.NotificationData);
        else
            _notify.Write(new RwReg16(at), (ushort)queue.Index);
    }

    /// <inheritdoc/>
    internal override void SetInterrupts(int vectors)
    {
        _interrupts = vectors == 0 ? InterruptKind.None
            : _function.MaxVectors(InterruptKind.MsiX) > 0 ? InterruptKind.MsiX : InterruptKind.IntX;
        _function.SetInterrupts(_interrupts, vectors);
    }

    /// <inheritdoc/>
    internal override void SetConfigVector(int vector)
    {
        if (_interrupts != InterruptKind.MsiX)
            return;
        ushort wanted = vector < 0 ? VirtioPci.VIRTIO_MSI_NO_VECTOR : (ushort)vector;
        _common.Write(CommonCfgRegs.ConfigVector, wanted);
        if (_common.Read(CommonCfgRegs.ConfigVector) != wanted)
            throw new DeviceException($"{_function.Device} does not take interrupt vector {wanted}",
                why: "it has no room for it (VIRTIO 1.2 §4.1.5.1.2)");
    }

    /// <inheritdoc/>
    internal override SafeFileHandle Vector(int vector) => _function.Vector(vector);

    /// <inheritdoc/>
    internal override void AcknowledgeConfig()
    {
        if (_interrupts != InterruptKind.IntX)
            return;
        _ = _isr.Read(IsrRegs.Status);   // takes the pin down
        _function.UnmaskIntX();
    }

    /// <inheritdoc/>
    public override void Dispose() => _function.Dispose();

    private void Write64(RwReg32 low, RwReg32 high, ulong value)
    {
        _common.Write(low, (uint)value);
        _common.Write(high, (uint)(value >> 32));
    }

    private Mmio Map(VirtioPciRegion region) => _function.MapBar(region.Bar).Slice(region.Offset, region.Length);

    private DeviceException Refused(Virtqueue queue, string why) =>
        new($"{_function.Device} does not take virtqueue {queue.Index}", why);
}
