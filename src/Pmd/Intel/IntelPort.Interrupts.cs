using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>Interrupts: vector 0 for the link, one more for each receive queue where that was asked for.</summary>
internal abstract partial class IntelPort
{
    private InterruptKind _kind;
    private bool _rxVectors;
    private IDisposable? _watch;

    /// <inheritdoc/>
    public SafeFileHandle? RxVector(int queue) => _rxVectors ? Function.Vector(1 + queue) : null;

    /// <inheritdoc/>
    public abstract void SetRxVector(int queue, bool on);

    /// <summary>Most receive queues that can have a vector of their own.</summary>
    protected int MaxRxVectors => Math.Max(0, Function.MaxVectors(InterruptKind.MsiX) - 1);

    /// <summary>The function can signal at all.</summary>
    protected bool HasInterrupts => Function.MaxVectors(InterruptKind.MsiX) + Function.MaxVectors(InterruptKind.Msi)
        + Function.MaxVectors(InterruptKind.IntX) > 0;

    /// <summary>Has the device signal a change of the link, and queues that are asked for.</summary>
    /// <param name="vectors">The device has a vector for each cause.</param>
    /// <param name="queues">Receive queues with a vector.</param>
    protected abstract void EnableInterrupts(bool vectors, int queues);

    /// <summary>Has the device signal nothing.</summary>
    protected virtual void DisableInterrupts()
    {
        Registers.Write(IntelRegs.Imc, uint.MaxValue);
        Device.Flush();
    }

    /// <summary>Has the device signal the next change of the link.</summary>
    /// <param name="vectors">The device has a vector for each cause.</param>
    protected abstract void RearmLink(bool vectors);

    private void StartInterrupts()
    {
        _kind = Function.MaxVectors(InterruptKind.MsiX) > 0 ? InterruptKind.MsiX
            : Function.MaxVectors(InterruptKind.Msi) > 0 ? InterruptKind.Msi
            : Function.MaxVectors(InterruptKind.IntX) > 0 ? InterruptKind.IntX : InterruptKind.None;
        if (_kind == InterruptKind.None)
            return;
        _rxVectors = Config.RxInterrupts;
        int queues = _rxVectors ? RxQueues.Count : 0;
        Function.SetInterrupts(_kind, 1 + queues);
        EnableInterrupts(_kind == InterruptKind.MsiX, queues);
        _watch = Eal.Interrupts.Register(Function.Vector(0), OnInterrupt);
    }

    /// <summary>Not under the lock that the callback takes: this waits for its end.</summary>
    private void StopWatching()
    {
        _watch?.Dispose();
        _watch = null;
    }

    private void StopInterrupts()
    {
        _rxVectors = false;
        if (_kind == InterruptKind.None)
            return;
        if (Device.Answers)
            DisableInterrupts();
        Function.SetInterrupts(InterruptKind.None, 0);
        _kind = InterruptKind.None;
    }

    /// <summary>Vector 0 came. Control thread for interrupts.</summary>
    private void OnInterrupt()
    {
        bool changed = false;
        try
        {
            lock (Device)
            {
                if (_kind == InterruptKind.None)
                    return;
                Eventfd.Drain(Function.Vector(0));
                if (!Device.Answers)
                    return;
                changed = (Registers.Read(IntelRegs.Icr) & IntelRegs.CauseLinkChange) != 0;
                RearmLink(_kind == InterruptKind.MsiX);
                if (_kind == InterruptKind.IntX)
                    Function.UnmaskIntX();
                if (changed && Device.GetLink().Up)
                    Device.ResolvePause();
            }
        }
        finally
        {
            if (changed)
                Raise(PortEvent.LinkChanged);
        }
    }
}
