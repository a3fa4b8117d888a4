namespace Dataplane.Dpctl;

/// <summary>What <c>dpctl capture</c> was told.</summary>
internal sealed record CaptureOptions
{
    /// <summary>Of the application; the environment's default.</summary>
    internal string FilePrefix { get; init; } = new EalOptions().FilePrefix;

    /// <summary>Which process, where several have the prefix.</summary>
    internal int? ProcessId { get; init; }

    /// <summary>Number or name of a port, or <c>all</c>.</summary>
    internal string Port { get; init; } = "all";

    /// <summary>Null: all.</summary>
    internal int? Queue { get; init; }

    internal CaptureDirection Direction { get; init; } = CaptureDirection.Receive | CaptureDirection.Transmit;

    /// <summary>Most bytes of a packet.</summary>
    internal int SnapLength { get; init; } = (int)CaptureRequest.MostSnapLength;

    /// <summary>MiB of each queue's ring.</summary>
    internal int BufferMb { get; init; } = 8;

    /// <summary>End after so many packets, 0 for no such end.</summary>
    internal ulong Count { get; init; }

    /// <summary>End after so many seconds, 0 for no such end.</summary>
    internal double Seconds { get; init; }

    /// <summary>Where to; "-" is standard output.</summary>
    internal required string Path { get; init; }

    /// <summary>A new file after so many bytes, or seconds; 0: never. At most so many files are kept; 0: all.</summary>
    internal long RotateBytes { get; init; }

    internal double RotateSeconds { get; init; }

    internal int RotateFiles { get; init; }

    /// <summary>The expression; empty for all packets.</summary>
    internal string Filter { get; init; } = "";
}
