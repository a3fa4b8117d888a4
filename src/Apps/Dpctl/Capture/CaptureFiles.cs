using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Runtime.InteropServices;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Dpctl;

/// <summary>
/// The files of a capture, one after another where they are to be rotated. Each is whole: a section, its interfaces and
/// at its end their counts.
/// </summary>
internal sealed class CaptureFiles : IDisposable
{
    private readonly CaptureOptions _options;
    private readonly int _snapLength;
    private readonly PcapInterface[] _interfaces;
    private readonly Func<PcapCounts[]> _counts;
    private readonly Queue<string> _kept = [];
    private PcapWriter _writer;
    private long _openedAt;
    private int _number;

    /// <summary>Opens the first.</summary>
    /// <param name="options">Where to, and when to begin another.</param>
    /// <param name="snapLength">Most bytes of a packet, as the application has it.</param>
    /// <param name="interfaces">By their number in the file.</param>
    /// <param name="counts">Asked at each file's end: those of the interfaces so far.</param>
    /// <param name="pipe">Where the path is one, and is open already; this object's from now on.</param>
    internal CaptureFiles(CaptureOptions options, int snapLength, PcapInterface[] interfaces,
        Func<PcapCounts[]> counts, SafeFileHandle? pipe)
    {
        _options = options;
        _snapLength = snapLength;
        _interfaces = interfaces;
        _counts = counts;
        Open(pipe);
    }

    /// <summary>Nobody reads what is written any more.</summary>
    internal bool IsReaderGone { get; private set; }

    private bool Rotates => _options.RotateBytes > 0 || _options.RotateSeconds > 0;

    /// <summary>Writes a packet.</summary>
    /// <returns>False when nobody reads any more.</returns>
    /// <exception cref="DataplaneException">It cannot be written.</exception>
    internal bool Add(uint interfaceId, ulong nanoseconds, in CaptureRecord record, ReadOnlySpan<byte> data,
        CapturedQueue queue)
    {
        if (_options.RotateBytes > 0 && _writer.Length >= _options.RotateBytes)
            Rotate();
        if (!_writer.AddPacket(interfaceId, nanoseconds, record.Length, data,
            queue.Direction == CaptureDirection.Transmit, queue.Queue, record.Lost))
            Fail();
        return !IsReaderGone;
    }

    /// <summary>Hands on what there is; begins another file when it is time to.</summary>
    internal void Flush()
    {
        if (!IsReaderGone && !_writer.Flush())
            Fail();
        if (_options.RotateSeconds > 0 && Environment.TickCount64 - _openedAt >= _options.RotateSeconds * 1000)
            Rotate();
    }

    /// <summary>Ends the last.</summary>
    public void Dispose()
    {
        _writer.Dispose();
    }

    /// <summary>Writes the counts and all that is left.</summary>
    internal void Finish()
    {
        if (IsReaderGone)
            return;
        PcapCounts[] counts = _counts();
        bool isWhole = true;
        for (int i = 0; i < counts.Length && isWhole; i++)
            isWhole = _writer.AddStatistics((uint)i, counts[i]);
        if (!isWhole || !_writer.Flush())
            Fail();
    }

    private void Rotate()
    {
        Finish();
        _writer.Dispose();
        Open();
    }

    [MemberNotNull(nameof(_writer))]
    private void Open(SafeFileHandle? pipe = null)
    {
        string path = Rotates ? NextName() : _options.Path;
        _kept.Enqueue(path);
        if (_options.RotateFiles > 0 && _kept.Count > _options.RotateFiles)
            File.Delete(_kept.Dequeue());
        _openedAt = Environment.TickCount64;
        _writer = PcapWriter.CreateSection(path, new PcapSection(
            RuntimeInformation.ProcessArchitecture.ToString(), RuntimeInformation.OSDescription,
            $"dpctl capture, Dataplane {Eal.VersionText}"), _snapLength, pipe);
        if (!_interfaces.All(_writer.AddInterface))
            Fail();
    }

    // As dumpcap names them: NAME_00001_20260131120000.EXTENSION
    private string NextName()
    {
        string extension = Path.GetExtension(_options.Path), start = _options.Path[..^extension.Length];
        return string.Create(CultureInfo.InvariantCulture,
            $"{start}_{++_number:d5}_{DateTime.Now:yyyyMMddHHmmss}{extension}");
    }

    private void Fail()
    {
        if (_writer.Error == Errno.EPIPE)
            IsReaderGone = true;
        else
            throw new DataplaneException($"cannot write '{_kept.LastOrDefault(_options.Path)}'", errno: _writer.Error,
                fix: _writer.Error is Errno.ENOSPC or Errno.EDQUOT ? "free some space there" : null);
    }
}
