namespace Dataplane;

/// <summary>
/// A worker ended with an exception, which is the <see cref="Exception.InnerException"/>. The other lcores go on.
/// </summary>
public sealed class LcoreException(int lcoreId, Exception inner)
    : DataplaneException($"the worker on lcore {lcoreId} failed: {inner.Message}", $"{inner.GetType().Name} in it",
        inner: inner)
{
    /// <summary>The lcore it ran on.</summary>
    public int LcoreId { get; } = lcoreId;
}
