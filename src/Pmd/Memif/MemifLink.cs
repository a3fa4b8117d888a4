using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>A connection, from its first message on: what is disposed when it ends. Under the port's gate.</summary>
internal sealed unsafe class MemifLink(MemifChannel channel) : IDisposable
{
    private readonly List<SafeFileHandle> _signals = [];

    internal MemifChannel Channel { get; } = channel;

    internal MemifMemory Memory { get; } = new();

    /// <summary>The rings from client to server, by index; null where there is none.</summary>
    internal MemifRing?[] ToServer { get; } = new MemifRing?[Port.MaxQueues];

    /// <summary>The rings from server to client, by index; null where there is none.</summary>
    internal MemifRing?[] ToClient { get; } = new MemifRing?[Port.MaxQueues];

    /// <summary>A client's messages still to be sent, each with its file, -1 for none.</summary>
    internal Queue<(MemifMessage Message, int File)> Steps { get; } = new();

    /// <summary>The other end's program, as it says.</summary>
    internal string PeerName { get; set; } = "";

    /// <summary>Packets flow.</summary>
    internal bool IsUp { get; set; }

    /// <summary>Milliseconds since the first message.</summary>
    internal long Age => Environment.TickCount64 - _since;

    private readonly long _since = Environment.TickCount64;

    /// <summary>Takes a ring's eventfd over.</summary>
    internal SafeFileHandle Own(SafeFileHandle signal)
    {
        _signals.Add(signal);
        return signal;
    }

    /// <summary>Not under the gate; no queue has a ring of it any more.</summary>
    public void Dispose()
    {
        Channel.Dispose();
        Memory.Dispose();
        foreach (SafeFileHandle signal in _signals)
            signal.Dispose();
    }
}
