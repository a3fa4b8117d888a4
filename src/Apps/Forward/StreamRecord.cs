using System.Globalization;
using System.Runtime.CompilerServices;

namespace Dataplane.Apps.Forward;

/// <summary>
/// Where a stream's cycles go and how large its bursts are: testpmd's --record-core-cycles and --record-burst-stats.
/// Written by its lcore alone, read by anyone.
/// </summary>
internal sealed class StreamRecord(int burst)
{
    private readonly long[] _received = new long[burst + 1], _sent = new long[burst + 1];
    private ulong _mark;
    private ulong _receiveCycles, _modeCycles, _sendCycles;
    private long _packets;

    /// <summary>Receives; empty polls count as bursts of 0, and their cycles as nobody's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Receive(RxQueue rx, Span<Mbuf> packets)
    {
        ulong start = Tsc.Read();
        int received = rx.RxBurst(packets);
        _mark = Tsc.Read();
        _received[received]++;
        if (received == 0)
            return 0;
        _packets += received;
        _receiveCycles += _mark - start;
        return received;
    }

    /// <summary>Sends; the cycles since the receipt, or the sending before, are the mode's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Send(TxQueue tx, ReadOnlySpan<Mbuf> packets)
    {
        ulong start = Tsc.Read();
        int sent = tx.TxBurst(packets);
        _modeCycles += _mark == 0 ? 0 : start - _mark;
        _mark = Tsc.Read();
        _sendCycles += _mark - start;
        _sent[sent]++;
        return sent;
    }

    /// <summary>The figures until now.</summary>
    public StreamRecordReport Report() => new(Volatile.Read(ref _packets), (long)Volatile.Read(ref _receiveCycles),
        (long)Volatile.Read(ref _modeCycles), (long)Volatile.Read(ref _sendCycles), Sizes(_received), Sizes(_sent));

    private static List<BurstSize> Sizes(long[] counts) =>
        [.. counts.Select((count, size) => new BurstSize(size, count)).Where(size => size.Count > 0)];
}

/// <summary>How many bursts had so many packets.</summary>
internal sealed record BurstSize(int Packets, long Count);

/// <summary>Cycles by stage, and bursts by size.</summary>
internal sealed record StreamRecordReport(long Packets, long ReceiveCycles, long ModeCycles, long SendCycles,
    IReadOnlyList<BurstSize> ReceivedBursts, IReadOnlyList<BurstSize> SentBursts)
{
    /// <summary>As testpmd words it: <c>1000 [90% of 32 pkts + 10% of others]</c>.</summary>
    public static string Spread(IReadOnlyList<BurstSize> sizes)
    {
        long all = sizes.Sum(size => size.Count);
        if (all == 0)
            return "0";
        BurstSize[] most = [.. sizes.OrderByDescending(size => size.Count).Take(3)];
        long rest = all - most.Sum(size => size.Count);
        return string.Create(CultureInfo.InvariantCulture, $"{all:N0} [") + string.Join(" + ", most.Select(size =>
            $"{Percent(size.Count, all)} of {size.Packets} pkts"))
            + (rest == 0 ? "]" : $" + {Percent(rest, all)} of others]");
    }

    /// <summary>Cycles per received packet of one stage.</summary>
    public string PerPacket(long cycles) =>
        Packets == 0 ? "-" : ((double)cycles / Packets).ToString("F1", CultureInfo.InvariantCulture);

    private static string Percent(long part, long all) =>
        (100.0 * part / all).ToString("F0", CultureInfo.InvariantCulture) + "%";
}
