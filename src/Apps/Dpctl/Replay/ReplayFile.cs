using System.Runtime.InteropServices;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Dpctl;

/// <summary>What is in a capture file, found by reading all of it before the first packet is sent.</summary>
/// <param name="Path">Where it is.</param>
/// <param name="Packets">Frames that can be sent.</param>
/// <param name="Bytes">Of those.</param>
/// <param name="Skipped">Packets that are no Ethernet frames, or shorter than a header.</param>
/// <param name="CutShort">Frames that had been longer on the wire than what was captured.</param>
/// <param name="Longest">The longest frame, bytes.</param>
/// <param name="Nanoseconds">From the first stamp to the latest.</param>
/// <param name="Backwards">Frames stamped before the one ahead of them.</param>
internal sealed record ReplayFile(string Path, ulong Packets, ulong Bytes, ulong Skipped, ulong CutShort, int Longest,
    ulong Nanoseconds, ulong Backwards)
{
    private const int LeastFrame = 14;

    /// <summary>Reads it to its end.</summary>
    /// <exception cref="ConfigException">Something in it is wrong, or there is nothing to send.</exception>
    /// <exception cref="DeviceException">It cannot be opened.</exception>
    internal static ReplayFile Scan(string path)
    {
        if (path.Contains(','))
            throw new ConfigException($"'{path}' cannot be replayed", "a comma parts the arguments of a device",
                "give it another name: ln -s FILE other-name.pcap");
        if (IsStream(path))
            throw new ConfigException($"'{path}' cannot be replayed", "it is read twice, and is no file",
                "save it to a file first");
        using PcapReader reader = PcapReader.Open("replay", path);
        var file = new ReplayFile(path, 0, 0, 0, 0, 0, 0, 0);
        (ulong packets, ulong bytes, ulong skipped, ulong cut, ulong backwards) = (0, 0, 0, 0, 0);
        (ulong first, ulong last, ulong before) = (0, 0, 0);
        uint longest = 0;
        PcapRecord record = default;
        for (ReadStatus status; (status = reader.Next(ref record)) != ReadStatus.End;)
        {
            if (status == ReadStatus.Bad)
                throw PcapFaults.Error("replay", path, reader.FaultOffset, reader.Fault);
            if (status == ReadStatus.Foreign || record.Length < LeastFrame)
            {
                skipped++;
                continue;
            }
            if (packets++ == 0)
                first = last = before = record.Nanoseconds;
            bytes += record.Length;
            longest = Math.Max(longest, record.Length);
            last = Math.Max(last, record.Nanoseconds);
            cut += record.Length < record.OriginalLength ? 1u : 0;
            backwards += record.Nanoseconds < before ? 1u : 0;
            before = record.Nanoseconds;
        }
        if (packets == 0)
            throw new ConfigException($"there is nothing to send in '{path}'", skipped == 0 ? "it is empty"
                : $"none of its {skipped} packets is an Ethernet frame");
        return file with { Packets = packets, Bytes = bytes, Skipped = skipped, CutShort = cut, Longest = (int)longest,
            Nanoseconds = last - first, Backwards = backwards };
    }

    /// <summary>A pipe or a terminal: what is read of it is gone.</summary>
    private static bool IsStream(string path)
    {
        // O_NONBLOCK: a FIFO is not waited for until somebody writes to it.
        using SafeFileHandle file = Fcntl.open(path, Fcntl.O_RDONLY | Fcntl.O_CLOEXEC | Fcntl.O_NONBLOCK, 0);
        return !file.IsInvalid && Fcntl.lseek(file, 0, Fcntl.SEEK_END) < 0
            && (Errno)Marshal.GetLastPInvokeError() == Errno.ESPIPE;
    }
}
