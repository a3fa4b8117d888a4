using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// How a driver talks to a virtio device beside the virtqueues' memory: PCI, or whatever else carries one. Control
/// path, one thread at a time, but for <see cref="Notify"/>.
/// </summary>
internal abstract unsafe class VirtioTransport : IDisposable
{
    /// <summary>How the device finds mbufs.</summary>
    internal abstract DmaAddressing Addressing { get; }

    /// <summary>The device must have VIRTIO_F_ACCESS_PLATFORM: without it, it takes addresses for physical
    /// ones.</summary>
    internal abstract bool NeedsAccessPlatform { get; }

    /// <summary>The device does not write a header that says already what it would write.</summary>
    internal virtual bool LeavesHeaders => false;

    /// <summary>Where the device finds a byte.</summary>
    internal abstract ulong ToIova(void* pointer);

    /// <summary>VIRTIO 1.2 §2.1. Writing 0 is <see cref="Reset"/>'s.</summary>
    internal abstract byte Status { get; set; }

    /// <summary>Takes the device back to where it came from; it touches no memory any more.</summary>
    /// <exception cref="DeviceException">It does not answer.</exception>
    internal abstract void Reset();

    /// <summary>What the device offers; VIRTIO 1.2 §2.2.</summary>
    internal abstract ulong ReadFeatures();

    /// <summary>What the driver takes of it.</summary>
    internal abstract void WriteFeatures(ulong features);

    /// <summary>Bytes of device configuration there are.</summary>
    internal abstract int ConfigBytes { get; }

    /// <summary>Reads the device's configuration, all of one moment.</summary>
    internal abstract void ReadConfig(int offset, Span<byte> bytes);

    /// <summary>Virtqueues the device has now: features may bring more.</summary>
    internal abstract int QueueCount { get; }

    /// <summary>Most descriptors of a queue, 0 where there is no such queue.</summary>
    internal abstract int MaxQueueSize(int index);

    /// <summary>Hands a queue to the device.</summary>
    /// <param name="queue">In its first state.</param>
    /// <param name="vector">Which interrupt it raises, -1 for none.</param>
    /// <exception cref="DeviceException">It cannot have it so.</exception>
    internal abstract void EnableQueue(Virtqueue queue, int vector);

    /// <summary>Tells the device that a queue has something new. Data path.</summary>
    internal abstract void Notify(Virtqueue queue);

    /// <summary>Vectors the device could raise, 0 for none.</summary>
    internal abstract int MaxVectors { get; }

    /// <summary>Turns interrupts on, 0 to turn them off.</summary>
    /// <param name="vectors">How many; 0 to <see cref="MaxVectors"/>.</param>
    internal abstract void SetInterrupts(int vectors);

    /// <summary>Which vector tells of a changed configuration, -1 for none.</summary>
    internal abstract void SetConfigVector(int vector);

    /// <summary>A vector's eventfd; the transport's own.</summary>
    internal abstract SafeFileHandle Vector(int vector);

    /// <summary>The configuration vector's eventfd is readable: reads what is to be read and lets it come
    /// again.</summary>
    internal abstract void AcknowledgeConfig();

    /// <summary>Called now and then while the device runs: a look at what nobody tells of. Any control path
    /// thread.</summary>
    internal virtual void Watch() { }

    /// <inheritdoc/>
    public abstract void Dispose();
}
