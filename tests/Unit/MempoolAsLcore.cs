using System.Runtime.CompilerServices;

namespace Dataplane.Tests;

/// <summary>Makes the calling thread look like an lcore, so that it has caches, until disposed.</summary>
internal readonly ref struct MempoolAsLcore
{
    private readonly int _before;

    public MempoolAsLcore(int id)
    {
        _before = IdPlusOne(null!);
        IdPlusOne(null!) = id + 1;
    }

    public void Dispose() => IdPlusOne(null!) = _before;

    [UnsafeAccessor(UnsafeAccessorKind.StaticField, Name = "t_idPlusOne")]
    private static extern ref int IdPlusOne(Lcore lcore);
}
