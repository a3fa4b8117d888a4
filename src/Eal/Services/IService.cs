namespace Dataplane;

/// <summary>Background work that service lcores do in turns: what hardware would do elsewhere.</summary>
public interface IService
{
    /// <summary>
    /// Does a little and returns. Runs on a service lcore, or on whichever lcore calls <see cref="Services.RunOnce"/>;
    /// never
    /// on two at once unless it was registered as MT-safe. Data path. What it throws is logged and disables it.
    /// </summary>
    ServiceResult Run(Lcore lcore);
}

/// <summary>What came of running a service once.</summary>
public enum ServiceResult
{
    /// <summary>It did something.</summary>
    Worked,

    /// <summary>It found nothing to do.</summary>
    Idle,

    /// <summary>It failed.</summary>
    Failed,

    /// <summary>It was not called: it is not MT-safe and runs on another lcore just now.</summary>
    Locked,

    /// <summary>It was not called: it is not ready, not enabled, or unregistered.</summary>
    NotRunning,
}

/// <summary>What a service did since it was registered or its statistics were reset.</summary>
/// <param name="Calls">Times it was called.</param>
/// <param name="Cycles">TSC cycles it took.</param>
/// <param name="IdleCalls">Calls which found nothing to do.</param>
/// <param name="ErrorCalls">Calls which failed.</param>
public readonly record struct ServiceStats(ulong Calls, ulong Cycles, ulong IdleCalls, ulong ErrorCalls);
