using System.Globalization;
using Dataplane.Native;
using Dataplane.Pmd;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Dpctl;

/// <summary>A capture from its start to its end: rings to files.</summary>
internal sealed class CaptureRun : ICaptureSink, IDisposable
{
    private const int IdleMs = 2;

    private readonly CaptureOptions _options;
    private readonly ControlConnection _connection;
    private readonly CaptureReader _reader;
    private readonly CaptureClock _clock;
    private readonly CaptureFiles _files;
    private readonly uint[] _interfaceOf;       // by ring
    private readonly ulong[] _written;          // by interface
    private readonly ulong _startNs = NowNs();

    /// <summary>Attaches; packets are captured from here on.</summary>
    /// <param name="options">What to capture, and where to.</param>
    /// <param name="pipe">Where the path is one: open already, and this object's from now on.</param>
    /// <exception cref="DataplaneException">No such application, port or queue; the filter is wrong; no memory; the
    /// file cannot be written.</exception>
    internal CaptureRun(CaptureOptions options, SafeFileHandle? pipe = null)
    {
        _options = options;
        try
        {
            sock_filter[] filter = options.Filter.Length == 0 ? []
                : Pcap.Compile(options.Filter, options.SnapLength);
            _connection = ControlConnection.Find(options.FilePrefix, options.ProcessId);
            _reader = CaptureReader.Attach(_connection, Request(options), filter);
            _clock = new CaptureClock(_reader.Reply);
            CapturedQueue[] ports = [.. _reader.Rings.DistinctBy(ring => ring.Port).OrderBy(ring => ring.Port)];
            _interfaceOf = [.. _reader.Rings.Select(ring =>
                (uint)Array.FindIndex(ports, port => port.Port == ring.Port))];
            _written = new ulong[ports.Length];
            _files = new CaptureFiles(options, (int)_reader.Reply.SnapLength, [.. ports.Select(port =>
                new PcapInterface(port.PortName, string.Create(CultureInfo.InvariantCulture,
                    $"port {port.Port} of process {_connection.ProcessId}"), port.Mac, port.LinkBitsPerSecond,
                    options.Filter))], Counts, pipe);
        }
        catch
        {
            pipe?.Dispose();
            _reader?.Dispose();
            _connection?.Dispose();
            throw;
        }
    }

    /// <summary>The queues that are captured.</summary>
    internal IReadOnlyList<CapturedQueue> Queues => _reader.Rings;

    /// <summary>The application's process.</summary>
    internal int ProcessId => _connection.ProcessId;

    /// <summary>Packets written.</summary>
    internal ulong Written { get; private set; }

    /// <summary>All rings' counts.</summary>
    internal CaptureRingHeader Total { get; private set; }

    /// <summary>Captures until told to stop, until there was enough, or until the application or the file's reader is
    /// gone.</summary>
    /// <returns>Null when told to stop or there was enough; else why it ended.</returns>
    internal string? Run(CancellationToken stop)
    {
        long end = _options.Seconds > 0 ? Environment.TickCount64 + (long)(_options.Seconds * 1000) : long.MaxValue;
        bool isGone = false;
        CaptureEnd over = CaptureEnd.None;
        _files.Flush();
        while (!IsEnough)
        {
            isGone = _connection.IsGone();
            over = _reader.End;
            // Looked at before the rings, so that what came until then is in the last round.
            bool isLast = stop.IsCancellationRequested || Environment.TickCount64 >= end || isGone
                || over != CaptureEnd.None;
            _clock.Compare();
            int count = _reader.Read(this, isGone || over != CaptureEnd.None ? ulong.MaxValue - 1
                : isLast ? _clock.Now : _clock.Settled);
            if (isLast)
                break;
            _files.Flush();
            if (count == 0)
                stop.WaitHandle.WaitOne(IdleMs);
        }
        Total = Sum(_ => true);
        _files.Finish();
        return isGone ? "the application ended"
            : over == CaptureEnd.Released
                ? "the application ended, or a port that was captured was closed or configured anew"
            : over == CaptureEnd.Ended ? "the application ended the capture" : null;
    }

    /// <inheritdoc/>
    public bool OnPacket(int ring, in CaptureRecord record, ReadOnlySpan<byte> data)
    {
        uint id = _interfaceOf[ring];
        if (_files.Add(id, _clock.ToRealTime(record.Tsc), record, data, _reader.Rings[ring]))
        {
            Written++;
            _written[id]++;
        }
        return !IsEnough;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _files.Dispose();
        _connection.Dispose();      // which ends the capture in the application
        _reader.Dispose();
    }

    private bool IsEnough => _files.IsReaderGone || (_options.Count != 0 && Written >= _options.Count);

    private PcapCounts[] Counts() => [.. _written.Select((written, id) =>
    {
        CaptureRingHeader sum = Sum(ring => _interfaceOf[ring] == id);
        return new PcapCounts(_startNs, NowNs(), sum.Seen, sum.Accepted, sum.Dropped, written);
    })];

    private CaptureRingHeader Sum(Predicate<int> includes)
    {
        CaptureRingHeader sum = default;
        for (int i = 0; i < _reader.Rings.Count; i++)
        {
            if (!includes(i))
                continue;
            CaptureRingHeader one = _reader.Counts(i);
            sum.Seen += one.Seen;
            sum.Accepted += one.Accepted;
            sum.Captured += one.Captured;
            sum.Dropped += one.Dropped;
        }
        return sum;
    }

    private static ulong NowNs() => (ulong)Clock.Nanoseconds(Clock.CLOCK_REALTIME);

    private static CaptureRequest Request(CaptureOptions options)
    {
        bool isNumber = int.TryParse(options.Port, NumberStyles.None, CultureInfo.InvariantCulture, out int port);
        var request = new CaptureRequest
        {
            Port = isNumber ? port : CaptureRequest.All,
            Queue = options.Queue ?? CaptureRequest.All,
            Direction = options.Direction,
            SnapLength = (uint)options.SnapLength,
            RingBytes = (uint)options.BufferMb << 20,
        };
        if (!isNumber && options.Port != "all")
            request.SetPortName(options.Port);
        return request;
    }
}
