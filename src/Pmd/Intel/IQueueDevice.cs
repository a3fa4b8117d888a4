using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>What receive and transmit queues need of the device they are on.</summary>
internal interface IQueueDevice
{
    /// <summary>The function, for the addresses its device uses.</summary>
    PciFunction Function { get; }

    /// <summary>BAR 0.</summary>
    Mmio Registers { get; }

    /// <summary>The register that says up to where the device owns receive descriptors.</summary>
    RwReg32 RxTail(int queue);

    /// <summary>The register that says up to where the device owns transmit descriptors.</summary>
    RwReg32 TxTail(int queue);

    /// <summary>Packets the device lost on a queue since it was opened. Any thread.</summary>
    ulong ReadMissed(int queue);

    /// <summary>The eventfd of a receive queue, or null.</summary>
    SafeFileHandle? RxVector(int queue);

    /// <summary>Lets a receive queue interrupt, or not. Polling thread.</summary>
    void SetRxVector(int queue, bool on);

    /// <summary>Time of receipt of the packet whose descriptor says it was stamped; nanoseconds, 0 for none.</summary>
    ulong ReadStamp();
}
