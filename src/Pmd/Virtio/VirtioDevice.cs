using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>The life of a virtio device, whatever carries it: reset, features, running. VIRTIO 1.2 §3.1. Control
/// path.</summary>
internal sealed unsafe class VirtioDevice : IDisposable
{
    private const int RssKeyBytes = 40;

    private readonly string _name;

    /// <summary>Resets the device and reads what it offers.</summary>
    /// <param name="name">The port's, for messages.</param>
    /// <param name="transport">Owned once this is made.</param>
    /// <exception cref="DeviceException">It does not answer, or is not for this driver.</exception>
    internal VirtioDevice(string name, VirtioTransport transport)
    {
        _name = name;
        Transport = transport;
        Begin();
        Offered = transport.ReadFeatures();
        if (!Offers(VirtioConfig.VIRTIO_F_VERSION_1))
            throw new DeviceException($"port {name}: the device is a legacy one",
                why: "it does not offer VIRTIO_F_VERSION_1 (VIRTIO 1.2 §6.1)",
                fix: "give the virtual machine a modern one: virtio-net-pci,disable-legacy=on (in QEMU)",
                see: "src/Pmd/Virtio/README.md");
        if (transport.NeedsAccessPlatform && !Offers(VirtioConfig.VIRTIO_F_ACCESS_PLATFORM))
            throw new DeviceException($"port {name}: the device goes round the IOMMU",
                why: "it does not offer VIRTIO_F_ACCESS_PLATFORM (VIRTIO 1.2 §6.1), so it takes I/O addresses for "
                    + "physical ones and would write to memory that is not ours",
                fix: "start the virtual machine with virtio-net-pci,disable-legacy=on,iommu_platform=on; or switch the "
                    + "IOMMU off in it (intel_iommu=off), bind with --noiommu and start with --unsafe-noiommu",
                see: "src/Pmd/Virtio/README.md");
        Propose();
        Config = ReadConfig();
    }

    /// <summary>How it is reached.</summary>
    internal VirtioTransport Transport { get; }

    /// <summary>What it offers.</summary>
    internal ulong Offered { get; }

    /// <summary>What was agreed on, 0 before <see cref="Negotiate"/>.</summary>
    internal ulong Features { get; private set; }

    /// <summary>Its configuration when it was opened, with values that make no sense replaced.</summary>
    internal virtio_net_config Config { get; }

    /// <summary>Most queue pairs.</summary>
    internal int MaxPairs { get; private set; } = 1;

    /// <summary>Number of the control queue: behind all there can be where several pairs were agreed on
    /// (§5.1.2).</summary>
    internal int ControlQueueIndex =>
        2 * (Has(VirtioNet.VIRTIO_NET_F_MQ) || Has(VirtioNet.VIRTIO_NET_F_RSS) ? DevicePairs : 1);

    /// <summary>Link bit, from the device; up where it has none.</summary>
    internal bool IsLinkUp
    {
        get
        {
            if (!Offers(VirtioNet.VIRTIO_NET_F_STATUS))
                return true;
            Span<byte> status = stackalloc byte[2];
            Transport.ReadConfig((int)Marshal.OffsetOf<virtio_net_config>(nameof(virtio_net_config.status)), status);
            return (status[0] & VirtioNet.VIRTIO_NET_S_LINK_UP) != 0;
        }
    }

    private int DevicePairs { get; set; } = 1;

    internal bool Offers(int bit) => VirtioFeatures.Has(Offered, bit);

    internal bool Has(int bit) => VirtioFeatures.Has(Features, bit);

    /// <summary>Resets the device and says that there is a driver. §3.1.1 steps 1 to 3.</summary>
    internal void Begin()
    {
        Features = 0;
        Transport.Reset();
        Transport.Status = VirtioConfig.VIRTIO_CONFIG_S_ACKNOWLEDGE;
        Transport.Status |= VirtioConfig.VIRTIO_CONFIG_S_DRIVER;
    }

    /// <summary>Agrees on features. §3.1.1 steps 4 to 6.</summary>
    /// <param name="wanted">Taken where offered.</param>
    /// <exception cref="DeviceException">The device refuses the set.</exception>
    internal void Negotiate(ulong wanted)
    {
        Features = wanted & Offered & Transport.ReadFeatures();   // one that came anew may offer less
        Transport.WriteFeatures(Features);
        Transport.Status |= VirtioConfig.VIRTIO_CONFIG_S_FEATURES_OK;
        if ((Transport.Status & VirtioConfig.VIRTIO_CONFIG_S_FEATURES_OK) != 0)
            return;
        ulong refused = Features;
        Fail();
        throw new DeviceException($"port {_name}: the device refuses its own features",
            why: $"offered 0x{Offered:x16}, taken 0x{refused:x16}, and FEATURES_OK does not stay (VIRTIO 1.2 §3.1.1)");
    }

    /// <summary>Lets the device run. §3.1.1 step 8.</summary>
    internal void Run() => Transport.Status |= VirtioConfig.VIRTIO_CONFIG_S_DRIVER_OK;

    /// <summary>The device says it cannot go on.</summary>
    internal bool NeedsReset => (Transport.Status & VirtioConfig.VIRTIO_CONFIG_S_NEEDS_RESET) != 0;

    /// <summary>Gives the device up, after an error: reset, so that it touches no memory.</summary>
    internal void Fail()
    {
        Transport.Status |= VirtioConfig.VIRTIO_CONFIG_S_FAILED;
        Begin();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            Transport.Reset();
        }
        catch (DeviceException)
        {
            // It is gone, or does not answer: closing the function is all that is left to do.
        }
        finally
        {
            Transport.Dispose();
        }
    }

    /// <summary>Takes what brings more queues: a device need not have them before (QEMU 10 has not), and their number
    /// and size is asked for now. A start begins anew, so whether it agrees does not matter here.</summary>
    private void Propose()
    {
        Transport.WriteFeatures(Offered & VirtioFeatures.Of(VirtioConfig.VIRTIO_F_VERSION_1,
            VirtioConfig.VIRTIO_F_ACCESS_PLATFORM, VirtioNet.VIRTIO_NET_F_CTRL_VQ, VirtioNet.VIRTIO_NET_F_MQ,
            VirtioNet.VIRTIO_NET_F_RSS));
        Transport.Status |= VirtioConfig.VIRTIO_CONFIG_S_FEATURES_OK;
    }

    private virtio_net_config ReadConfig()
    {
        virtio_net_config config;
        var bytes = new Span<byte>(&config, sizeof(virtio_net_config));
        bytes.Clear();
        Transport.ReadConfig(0, bytes[..Math.Min(bytes.Length, Transport.ConfigBytes)]);
        DevicePairs = Offers(VirtioNet.VIRTIO_NET_F_MQ) || Offers(VirtioNet.VIRTIO_NET_F_RSS)
            ? config.max_virtqueue_pairs : 1;
        if (DevicePairs is < 1 or > VirtioNet.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX)
            DevicePairs = 1;
        MaxPairs = Math.Min(DevicePairs, Port.MaxQueues);
        while (MaxPairs > 1 && Transport.MaxQueueSize(2 * MaxPairs - 1) == 0)
            MaxPairs--;   // it promised more pairs than it has queues
        if (config.rss_max_key_size < RssKeyBytes || config.rss_max_indirection_table_length == 0)
            config.supported_hash_types = 0;
        return config;
    }
}
