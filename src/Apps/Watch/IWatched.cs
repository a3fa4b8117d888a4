namespace Dataplane.Apps.Watch;

/// <summary>What an application tells beyond what environment and ports know. Any thread.</summary>
public interface IWatched
{
    /// <summary>Its name.</summary>
    string App { get; }

    /// <summary>What it does, in a word or two.</summary>
    string Mode { get; }

    /// <summary>Its ports.</summary>
    IReadOnlyList<Port> Ports { get; }

    /// <summary>Which lcore moves packets from where to where.</summary>
    IReadOnlyList<WatchedStream> Streams { get; }

    /// <summary>Packets the application dropped, by reason, since it started.</summary>
    IReadOnlyList<WatchedDrop> Drops { get; }

    /// <summary>From receipt to sending; null where it is not measured.</summary>
    LatencyReport? Latency { get; }
}

/// <summary>A way through the application; a port's name is null where packets begin or end here.</summary>
public readonly record struct WatchedStream(int Lcore, string? From, int FromQueue, string? To, int ToQueue);

/// <summary>Packets that were dropped.</summary>
public readonly record struct WatchedDrop(string Reason, ulong Packets);
