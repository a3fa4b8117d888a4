namespace Dataplane;

/// <summary>The environment: everything a process takes from the system to move packets, and gives back on dispose.</summary>
public sealed class Eal : IDisposable
{
    private Eal(EalOptions options)
    {
        Options = options;
        Memory = new Memory();
    }

    /// <summary>What it was started with.</summary>
    public EalOptions Options { get; }

    /// <summary>Memory for rings, pools and devices.</summary>
    public Memory Memory { get; }

    /// <summary>Starts an environment. Take it down with <see cref="Dispose"/>; another can be made after that.</summary>
    public static Eal Initialize(EalOptions options) => new(options);

    /// <inheritdoc/>
    public void Dispose() => Memory.Dispose();
}
