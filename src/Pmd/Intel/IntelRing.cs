namespace Dataplane.Pmd;

/// <summary>A queue's descriptors, as the device is told of them.</summary>
internal interface IIntelRing
{
    /// <summary>Where the device finds the ring.</summary>
    ulong RingIova { get; }

    /// <summary>Length of the ring.</summary>
    uint RingBytes { get; }
}

/// <summary>A receive queue's, whatever its format.</summary>
internal interface IIntelRxRing : IIntelRing
{
    /// <summary>Fills the ring with mbufs, before the device is told of it. Where the pool has too few just now, with
    /// those there are; polling adds the others when they come back.</summary>
    void Arm();

    /// <summary>Gives the device the ring: all that has mbufs but the last, since head = tail means none.</summary>
    void GiveRing();
}

/// <summary>What rings of the family share.</summary>
internal static class IntelRing
{
    /// <summary>Mbufs replaced at a time; the number of descriptors is a multiple of it.</summary>
    internal const int Batch = 32;

    /// <summary>Queues made from now on use vectors where the CPU has them. For tests and measurements.</summary>
    internal static bool UseVectors { get; set; } = true;

    // From a queue's first register: base address in two halves, bytes, head, tail. The same distances in all.
    private const uint BaseHigh = 4, Length = 8, Head = 0x10, Tail = 0x18;

    /// <summary>Tells the device of a ring; nothing in it is the device's yet. The queue must be off.</summary>
    /// <param name="registers">BAR 0.</param>
    /// <param name="first">RDBAL or TDBAL of the queue.</param>
    /// <param name="queue">The queue.</param>
    internal static void Tell(Mmio registers, RwReg32 first, object queue)
    {
        var ring = (IIntelRing)queue;
        registers.Write(first, (uint)ring.RingIova);
        registers.Write(new RwReg32(first.Offset + BaseHigh), (uint)(ring.RingIova >> 32));
        registers.Write(new RwReg32(first.Offset + Length), ring.RingBytes);
        registers.Write(new RwReg32(first.Offset + Head), 0);
        registers.Write(new RwReg32(first.Offset + Tail), 0);
    }
}
