namespace Dataplane;

/// <summary>What an lcore runs, as a struct: the loop is compiled for it and its calls are inlined.</summary>
public interface ILcoreWorker
{
    /// <summary>Runs on the lcore until done or <see cref="Lcore.StopRequested"/>.</summary>
    /// <returns>What <see cref="Eal.Wait(int)"/> returns.</returns>
    int Run(Lcore lcore);
}

internal abstract class LcoreJob
{
    internal abstract int Run(Lcore lcore);
}

internal sealed class LcoreJob<TWorker>(TWorker worker) : LcoreJob where TWorker : struct, ILcoreWorker
{
    private readonly TWorker _worker = worker;

    internal override int Run(Lcore lcore) => _worker.Run(lcore);
}

internal readonly struct DelegateWorker(Func<Lcore, int> function) : ILcoreWorker
{
    public int Run(Lcore lcore) => function(lcore);
}
