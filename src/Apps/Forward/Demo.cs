using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Net;

namespace Dataplane.Apps.Forward;

/// <summary>
/// What runs when no EAL option is given: two cables, the forwarder between their near ends, and at their far ends a
/// generator and a checker on an lcore of their own.
/// <code>
///   generator+checker -- net_wire0 ===== net_wire1 -- forward -- net_wire2 ===== net_wire3 -- generator+checker
/// </code>
/// </summary>
internal static class Demo
{
    /// <summary>What was given, for 5 seconds unless it says otherwise. The far ends check what comes back, so the
    /// forwarder must hand every packet on, by one queue.</summary>
    /// <exception cref="ConfigException">It was told not to.</exception>
    public static ForwardOptions Options(ForwardOptions given)
    {
        string? odd = given.Mode is not ("io" or "mac" or "macswap") ? $"--forward-mode {given.Mode}"
            : given.Topology != PortTopology.Paired ? "--port-topology"
            : given.RxQueues > 1 || given.TxQueues > 1 ? "more than one queue"
            : given.TxFirst > 0 ? "--tx-first" : null;
        return odd == null ? given with { DurationSeconds = given.DurationSeconds > 0 ? given.DurationSeconds : 5 }
            : throw new ConfigException($"{odd} in the demo", why: "without ports of its own Forward runs its demo, "
                + "whose far ends expect every packet they sent back, in order",
                fix: $"name ports before the --: {ForwardRun.VirtualPorts}");
    }

    /// <summary>Two lcores, on one CPU if there is only one, and four wire ports.</summary>
    public static EalOptions EalOptions(EalOptions given)
    {
        string allowed = File.ReadLines("/proc/self/status")
            .First(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal));
        int[] two = [.. CpuSet.Parse(allowed[(allowed.IndexOf(':', StringComparison.Ordinal) + 1)..]).Take(2)];
        return given with
        {
            Lcores = [new LcoreAssignment(0, CpuSet.Of(two[0])), new LcoreAssignment(1, CpuSet.Of(two[^1]))],
            NoPci = true,
            Vdevs = ["net_wire0", "net_wire1", "net_wire2", "net_wire3"],
        };
    }
}

/// <summary>What the tester puts into each packet behind the UDP header.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal struct DemoStamp
{
    public const int Offset = EtherHeader.Size + IPv4Header.Size + UdpHeader.Size;

    public ulong Sequence;
    public ulong Check;

    public static ulong CheckOf(ulong sequence) => (sequence + 1) * 0x9e37_79b9_7f4a_7c15;
}

/// <summary>One far end: sends numbered packets, never more than a window ahead, and checks those from the
/// other.</summary>
internal sealed class DemoEnd(Port port, Mempool pool, PacketTemplate frame)
{
    // Both cables and the forwarder's hands hold more than this, so the forwarder never has a reason to drop.
    private const int Window = 256;

    private readonly RxQueue _rx = port.RxQueues[0];
    private readonly TxQueue _tx = port.TxQueues[0];
    private bool _isDone;

    public ulong Generated { get; private set; }

    public ulong Checked { get; private set; }

    public ulong OutOfOrder { get; private set; }

    public ulong Corrupted { get; private set; }

    /// <summary>Set when the tester wants no more packets; until then the forwarder goes on.</summary>
    public bool IsDone { get => Volatile.Read(ref _isDone); set => Volatile.Write(ref _isDone, value); }

    /// <summary>Receives and checks what there is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Check(Span<Mbuf> burst)
    {
        int received = _rx.RxBurst(burst);
        foreach (Mbuf packet in burst[..received])
        {
            ref DemoStamp stamp = ref packet.Data.HeaderAt<DemoStamp>(DemoStamp.Offset);
            if (packet.PacketLength != frame.Length || stamp.Check != DemoStamp.CheckOf(stamp.Sequence))
                Corrupted++;
            else if (stamp.Sequence != Checked)
                OutOfOrder++;
            Checked++;
        }
        Mbuf.FreeBulk(burst[..received]);
        return received > 0;
    }

    /// <summary>Sends a burst if the other end has seen enough of those before.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Generate(Span<Mbuf> burst, DemoEnd other)
    {
        if (Generated + (ulong)burst.Length - other.Checked > Window || !pool.TryAllocBulk(burst))
            return false;
        ulong sequence = Generated;
        foreach (Mbuf packet in burst)
        {
            packet.TrySetLength(frame.Length);
            Span<byte> data = packet.Data;
            frame.CopyTo(data);
            data.HeaderAt<DemoStamp>(DemoStamp.Offset) =
                new DemoStamp { Sequence = sequence, Check = DemoStamp.CheckOf(sequence) };
            sequence++;
        }
        int sent = _tx.TxBurst(burst);
        Generated += (ulong)sent;
        Mbuf.FreeBulk(burst[sent..]);   // never sent: the next burst uses the numbers again
        return true;
    }
}

/// <summary>The lcore of both far ends.</summary>
internal readonly struct DemoTester(DemoEnd left, DemoEnd right, int burstSize) : ILcoreWorker
{
    // Without progress: on a busy machine the forwarder's lcore was seen to wait for its CPU for more than a second.
    private const int PatienceMs = 20_000;

    /// <summary>True when the forwarder may stop as well.</summary>
    public bool IsDone => left.IsDone;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Run(Lcore lcore)
    {
        try
        {
            Test(lcore, new Mbuf[burstSize]);
        }
        finally
        {
            left.IsDone = true;
        }
        return 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Test(Lcore lcore, Span<Mbuf> burst)
    {
        var meter = new CycleMeter(lcore);
        while (!lcore.StopRequested)
            meter.Count(left.Check(burst) | right.Check(burst) | left.Generate(burst, right) | right.Generate(burst,
                left));
        long deadline = Environment.TickCount64 + PatienceMs;
        while (left.Generated + right.Generated != left.Checked + right.Checked && Environment.TickCount64 < deadline)
            if (left.Check(burst) | right.Check(burst))
                deadline = Environment.TickCount64 + PatienceMs;
    }

    public DemoReport Report() => new((long)(left.Generated + right.Generated), (long)(left.Checked + right.Checked),
        (long)(left.Generated + right.Generated - left.Checked - right.Checked),
        (long)(left.OutOfOrder + right.OutOfOrder), (long)(left.Corrupted + right.Corrupted));
}
