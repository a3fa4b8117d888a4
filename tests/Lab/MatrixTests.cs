namespace Dataplane.Tests;

/// <summary>
/// The matrix of acceptance: every NIC, opened by every backend, on the machines of both kernels. The driver contract
/// runs whole over iommufd; elsewhere what backend and kernel have a part in: DMA of frames in and out, in segments and
/// over many buffers, all buffers back, interrupts of queue and link, queues made anew. What is between the driver and
/// its device alone (offloads, filters, registers) cannot differ there.
/// </summary>
public abstract class NicContract(IommuBackend backend, string model) : DriverContract
{
    private static readonly string[] s_onEach =
    [
        nameof(Configure_AgainWithMoreQueues_Works), nameof(Counters_Traffic_EqualWhatMoved),
        nameof(Data_Sent_ArrivesUnchangedAndInOrder), nameof(Data_SeveralSegments_ArrivesWholeOrIsCounted),
        nameof(Link_TakenDownAndUp_IsTold), nameof(RxInterrupt_Armed_WakesOnAPacketAndNotOnSilence),
        nameof(Scatter_JumboFrames_ArriveWholeInSeveralSegments), nameof(Traffic_AnyMix_EveryMbufComesBack),
    ];

    // With several queues, and a joining over which checksums and superframes pass: what the matrix's NICs have not.
    // Not yet RSS (of 48 frames those for one queue came alone in one run of three) and what is said of checksums.
    private static readonly string[] s_onMultiQueue =
    [
        .. s_onEach, nameof(Offloads_EachClaimed_MovesPackets), nameof(Tso_LargePacket_ArrivesInRightSegments),
        nameof(TxChecksum_AskedFor_IsFilledIn),
    ];

    /// <summary>What opens the NICs.</summary>
    internal IommuBackend Backend => backend;

    /// <summary>Which NICs: lab/run's --nic.</summary>
    internal string Model => model;

    /// <summary>Whether that test of that class runs on that machine: every test of the contract over iommufd, on one
    /// kernel (<see cref="Whole"/>), and everywhere with LAB_WHOLE=1.</summary>
    internal static bool Runs(Type type, string test, Machines machine) =>
        !type.IsSubclassOf(typeof(NicContract))
        || (machine == Machines.MultiQueue ? s_onMultiQueue : s_onEach).Contains(test)
        || Environment.GetEnvironmentVariable("LAB_WHOLE") == "1"
        || (machine & Whole(type)) != 0;

    protected override IReadOnlyList<string> Devices => [Guest.Pair(Model).First, Guest.Pair(Model).Second];

    protected override IReadOnlyList<string> BadDevices => [Guest.Pair(Model).First + ",nosuchargument=1"];

    protected override bool IsNic => true;

    private static bool IsBridged => Guest.Machine?.Id == Machines.MultiQueue;

    // Two machines run at a time: one kernel for each would have one machine wait for the other.
    private static Machines Whole(Type type) =>
        type == typeof(MatrixIommufdIgb) || type == typeof(MatrixIommufdVirtioPacked) ? Machines.Intel612
        : type == typeof(MatrixIommufdE1000e) || type == typeof(MatrixIommufdVirtioSplit) ? Machines.Intel72
        : Machines.None;

    // Between two NICs of one emulated machine; what must come is waited for a hundred times as long.
    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(300);

    // What an emulated machine moves in a second or two.
    protected override int ManyPackets => 20_000;

    protected override int MixSteps => 1000;

    // QEMU 10 takes FIN and PSH out of the headers it cuts with, and puts them into no segment (hw/net/net_tx_pkt.c).
    protected override bool LastSegmentIsMarked => IsBridged;

    protected override bool SaysEveryChecksum => !IsBridged;

    // QEMU 10's e1000e sends each message again when its throttle ends, whatever is masked (hw/net/e1000e_core.c).
    protected override bool RepeatsInterrupts => Model == "e1000e";

    protected override EalOptions Settings => new()
    {
        MemoryMb = 64,
        IommuBackend = Backend,
        UnsafeNoIommu = Backend == IommuBackend.NoIommu,
    };
}

[Guest(Machines.Intel)]
public sealed class MatrixIommufdIgb() : NicContract(IommuBackend.Iommufd, "igb");
[Guest(Machines.Intel)]
public sealed class MatrixIommufdE1000e() : NicContract(IommuBackend.Iommufd, "e1000e");
[Guest(Machines.Intel)]
public sealed class MatrixIommufdVirtioSplit() : NicContract(IommuBackend.Iommufd, "virtio");
[Guest(Machines.Intel)]
public sealed class MatrixIommufdVirtioPacked() : NicContract(IommuBackend.Iommufd, "virtio-packed");
[Guest(Machines.Intel)]
public sealed class MatrixType1Igb() : NicContract(IommuBackend.Type1, "igb");
[Guest(Machines.Intel)]
public sealed class MatrixType1E1000e() : NicContract(IommuBackend.Type1, "e1000e");
[Guest(Machines.Intel)]
public sealed class MatrixType1VirtioSplit() : NicContract(IommuBackend.Type1, "virtio");
[Guest(Machines.Intel)]
public sealed class MatrixType1VirtioPacked() : NicContract(IommuBackend.Type1, "virtio-packed");
[Guest(Machines.Bare)]
public sealed class MatrixNoIommuIgb() : NicContract(IommuBackend.NoIommu, "igb");
[Guest(Machines.Bare)]
public sealed class MatrixNoIommuE1000e() : NicContract(IommuBackend.NoIommu, "e1000e");
[Guest(Machines.Bare)]
public sealed class MatrixNoIommuVirtioSplit() : NicContract(IommuBackend.NoIommu, "virtio");
[Guest(Machines.Bare)]
public sealed class MatrixNoIommuVirtioPacked() : NicContract(IommuBackend.NoIommu, "virtio-packed");

/// <summary>Four queues, TAPs and a bridge between two virtio NICs: not a row of the matrix.</summary>
[Guest(Machines.MultiQueue)]
public sealed class MultiQueueVirtioSplit() : NicContract(IommuBackend.Iommufd, "virtio");
[Guest(Machines.MultiQueue)]
public sealed class MultiQueueVirtioPacked() : NicContract(IommuBackend.Iommufd, "virtio-packed");
