using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>What a peer has said of one ring so far. Control path, under the port's lock.</summary>
internal sealed class VhostVring(int index) : IDisposable
{
    private const uint PackedStart = 0x8000_8000;   // both positions 0, both wrap counters 1

    /// <summary>Its number: even ones the peer receives with, odd ones it sends with.</summary>
    internal int Index { get; } = index;

    /// <summary>Descriptors, 0 before that was said.</summary>
    internal int Size { get; set; }

    /// <summary>Where it lies, or null.</summary>
    internal vhost_vring_addr? Address { get; set; }

    /// <summary>Where to go on, or null.</summary>
    internal uint? Base { get; set; }

    /// <summary>The ring may run: its kick was set, and it was not stopped since.</summary>
    internal bool IsStarted { get; set; }

    /// <summary>Packets may flow.</summary>
    internal bool IsEnabled { get; set; }

    /// <summary>The driver tells by this.</summary>
    internal SafeFileHandle? Kick { get; private set; }

    /// <summary>The driver is told by this.</summary>
    internal SafeFileHandle? Call { get; private set; }

    /// <summary>The driver is told of a broken ring by this.</summary>
    internal SafeFileHandle? Error { get; private set; }

    /// <summary>What it is while packets flow.</summary>
    internal VhostRing? Ring { get; set; }

    /// <summary>Where a ring begins of which nothing was said.</summary>
    internal uint BaseOr(bool packed) => Base ?? (packed ? PackedStart : 0);

    /// <summary>Takes the file of a kick, call or error message; null for none.</summary>
    internal void SetFile(VhostRequest request, SafeFileHandle? file)
    {
        switch (request)
        {
            case VhostRequest.SetVringKick:
                Kick?.Dispose();
                Kick = file;
                break;
            case VhostRequest.SetVringCall:
                Call?.Dispose();
                Call = file;
                break;
            default:
                Error?.Dispose();
                Error = file;
                break;
        }
    }

    /// <summary>The ring stops: its eventfds are given back.</summary>
    internal void Stop()
    {
        IsStarted = false;
        SetFile(VhostRequest.SetVringKick, null);
        SetFile(VhostRequest.SetVringCall, null);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Stop();
        SetFile(VhostRequest.SetVringErr, null);
    }
}
