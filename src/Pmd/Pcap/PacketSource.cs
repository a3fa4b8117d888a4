namespace Dataplane.Pmd;

/// <summary>A packet as a source has it.</summary>
internal unsafe struct PcapRecord
{
    /// <summary>Its bytes, valid until the next call of the source.</summary>
    internal byte* Data;

    /// <summary>Bytes captured.</summary>
    internal uint Length;

    /// <summary>Bytes it had on the wire.</summary>
    internal uint OriginalLength;

    /// <summary>Since 1970.</summary>
    internal ulong Nanoseconds;

    /// <summary>It is the first of its file, again each time the file is played.</summary>
    internal bool IsFirst;
}

/// <summary>What came of asking for a packet.</summary>
internal enum ReadStatus
{
    /// <summary>There is one.</summary>
    Packet,
    /// <summary>There is none now: the end of the file, or of what has come so far.</summary>
    End,
    /// <summary>There was one that is no Ethernet frame; go on.</summary>
    Foreign,
    /// <summary>What is there makes no sense. There will be no more packets.</summary>
    Bad,
}

/// <summary>Where a receive queue has its packets from. One thread at a time.</summary>
internal abstract class PacketSource : IDisposable
{
    /// <summary>More may come after <see cref="ReadStatus.End"/>.</summary>
    internal virtual bool IsOpenEnded => false;

    /// <summary>Takes the next packet. Data path.</summary>
    internal abstract ReadStatus Next(ref PcapRecord record);

    /// <summary>Goes back to the start where there is one. Control path.</summary>
    internal virtual void Rewind() { }

    /// <inheritdoc/>
    public virtual void Dispose() { }
}
