using Microsoft.Extensions.Logging;

namespace Dataplane;

public sealed partial class Eal
{
    private readonly Lcore?[] _lcores = new Lcore?[Lcore.Max];

    /// <summary>All lcores in use by ascending id: main, workers, services and registered threads.</summary>
    public IEnumerable<Lcore> Lcores => _lcores.Where(lcore => lcore != null)!;

    /// <summary>The lcores things can be launched on, but for the main one, by ascending id.</summary>
    public IEnumerable<Lcore> Workers => Lcores.Where(lcore => lcore.Role == LcoreRole.Worker);

    /// <summary>The main lcore: a thread of its own too, not the one that initialized.</summary>
    public Lcore MainLcore { get; private set; } = null!;

    /// <summary>
    /// Cancelled by the first <see cref="RequestStop()"/>, SIGINT or SIGTERM; for the application's control threads.
    /// </summary>
    public CancellationToken StopToken { get; }

    /// <summary>The lcore of that id.</summary>
    /// <exception cref="ConfigException">None is in use; the message lists those that are.</exception>
    public Lcore GetLcore(int lcoreId) =>
        (uint)lcoreId < Lcore.Max && _lcores[lcoreId] is { } lcore ? lcore
        : throw new ConfigException($"there is no lcore {lcoreId}",
            $"in use are {CpuSet.Of([.. Lcores.Select(l => l.Id)])}",
            "name it in -l");

    /// <summary>Starts a worker on an lcore and returns at once.</summary>
    /// <param name="lcoreId">The main lcore or a worker.</param>
    /// <param name="worker">Runs there until it returns; its return value comes out of <see cref="Wait(int)"/>.</param>
    /// <exception cref="DataplaneException">
    /// EBUSY: it runs something already. Or it is no main or worker lcore.
    /// </exception>
    public void Launch(int lcoreId, Func<Lcore, int> worker) => Launch(lcoreId, new DelegateWorker(worker));

    /// <summary>Starts a worker on an lcore and returns at once. The worker's code is compiled for its type.</summary>
    /// <param name="lcoreId">The main lcore or a worker.</param>
    /// <param name="worker">Copied; runs there until it returns.</param>
    /// <exception cref="DataplaneException">
    /// EBUSY: it runs something already. Or it is no main or worker lcore.
    /// </exception>
    public void Launch<TWorker>(int lcoreId, TWorker worker) where TWorker : struct, ILcoreWorker =>
        GetLaunchable(lcoreId).Launch(new LcoreJob<TWorker>(worker), StopToken);

    /// <summary>Starts a worker on all workers, and on the main lcore if asked to, and returns at once.</summary>
    /// <exception cref="DataplaneException">
    /// EBUSY: one of them runs something already, and nothing was started.
    /// </exception>
    public void LaunchAll(Func<Lcore, int> worker, CallMain main = CallMain.Call) =>
        LaunchAll(new DelegateWorker(worker), main);

    /// <summary>
    /// Starts a copy of a worker on all workers, and on the main lcore if asked to, and returns at once.
    /// </summary>
    /// <exception cref="DataplaneException">
    /// EBUSY: one of them runs something already, and nothing was started.
    /// </exception>
    public void LaunchAll<TWorker>(TWorker worker, CallMain main = CallMain.Call) where TWorker : struct, ILcoreWorker
    {
        Lcore[] chosen = [.. Launchable.Where(lcore => main == CallMain.Call || lcore.Role != LcoreRole.Main)];
        if (Array.Find(chosen, lcore => lcore.State == LcoreState.Running) is { } busy)
            throw new DataplaneException($"lcore {busy.Id} is busy, nothing was launched", "it runs another worker",
                "wait for it first: eal.Wait(lcoreId)", errno: Errno.EBUSY);
        foreach (Lcore lcore in chosen)
            Launch(lcore.Id, worker);
    }

    /// <summary>Waits for an lcore's worker to end.</summary>
    /// <returns>What it returned; 0 when nothing was ever launched there.</returns>
    /// <exception cref="LcoreException">The worker threw; again on each call until the next launch.</exception>
    public int Wait(int lcoreId)
    {
        LcoreThread thread = GetLaunchable(lcoreId);
        thread.WaitIdle(Timeout.InfiniteTimeSpan);
        return thread.Result;
    }

    /// <summary>Waits for all workers and the main lcore.</summary>
    /// <exception cref="LcoreException">A worker threw. All have ended.</exception>
    /// <exception cref="AggregateException">Several threw; one <see cref="LcoreException"/> each.</exception>
    public void WaitAll() => WaitAll(Timeout.InfiniteTimeSpan);

    /// <summary>Waits for all workers and the main lcore, but not longer than <paramref name="timeout"/>.</summary>
    /// <returns>False when one still runs.</returns>
    /// <exception cref="LcoreException">A worker threw. All have ended.</exception>
    /// <exception cref="AggregateException">Several threw; one <see cref="LcoreException"/> each.</exception>
    public bool WaitAll(TimeSpan timeout)
    {
        long start = Environment.TickCount64;
        foreach (Lcore lcore in Launchable)
        {
            TimeSpan left = timeout - TimeSpan.FromMilliseconds(Environment.TickCount64 - start);
            if (timeout == Timeout.InfiniteTimeSpan)
                left = timeout;
            else if (left < TimeSpan.Zero)
                left = TimeSpan.Zero;   // -1 ms would be for ever
            if (!lcore.Thread!.WaitIdle(left))
                return false;
        }
        LcoreException[] failures = [.. Launchable.Select(Failure).OfType<LcoreException>()];
        return failures.Length switch
        {
            0 => true,
            1 => throw failures[0],
            _ => throw new AggregateException(failures),
        };
    }

    /// <summary>
    /// Asks every worker, running or launched later, to return: <see cref="Lcore.StopRequested"/> is true from now on.
    /// SIGINT and SIGTERM do the same. Services go on until <see cref="Dispose"/>. Never blocks.
    /// </summary>
    public void RequestStop()
    {
        Task told = _stop.CancelAsync();   // cancelled now; what the application registered runs on another thread
        Interlocked.MemoryBarrier();       // T1: with T0 in Lcore.FollowStop
        foreach (Lcore lcore in Lcores)
            if (lcore.Role != LcoreRole.Service)
                lcore.SetStop(true);
        _ = told.ContinueWith(task => LogStopFailure(_logger, task.Exception!), CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
    }

    [LoggerMessage(LogLevel.Error, "what the application registered with the stop token failed")]
    private static partial void LogStopFailure(ILogger logger, Exception exception);

    /// <summary>Asks what runs on one lcore now to return; the next launch there starts afresh. Never blocks.</summary>
    /// <exception cref="ConfigException">There is no such lcore, or it runs services.</exception>
    public void RequestStop(int lcoreId)
    {
        Lcore lcore = GetLcore(lcoreId);
        if (lcore.Role == LcoreRole.Service)
            throw new ConfigException($"lcore {lcoreId} runs services until the EAL is disposed",
                fix: "disable a service by its IsEnabled, or take it off the lcore: Services.Map(service, id, false)");
        lcore.SetStop(true);
    }

    /// <summary>
    /// Asks all that runs now to return and waits for it; lcores can be launched on again after that.
    /// </summary>
    /// <exception cref="LcoreException">A worker threw. All have ended.</exception>
    /// <exception cref="AggregateException">Several threw; one <see cref="LcoreException"/> each.</exception>
    public void StopAll()
    {
        foreach (Lcore lcore in Launchable)
            lcore.SetStop(true);
        WaitAll();
    }

    private IEnumerable<Lcore> Launchable => Lcores.Where(lcore => lcore.Role is LcoreRole.Main or LcoreRole.Worker);

    private static LcoreException? Failure(Lcore lcore)
    {
        try
        {
            _ = lcore.Thread!.Result;
            return null;
        }
        catch (LcoreException e)
        {
            return e;
        }
    }

    private LcoreThread GetLaunchable(int lcoreId)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        Lcore lcore = GetLcore(lcoreId);
        return lcore.Role is LcoreRole.Main or LcoreRole.Worker ? lcore.Thread!
            : throw new ConfigException($"nothing can be launched on lcore {lcoreId}", $"its role is {lcore.Role}");
    }
}
