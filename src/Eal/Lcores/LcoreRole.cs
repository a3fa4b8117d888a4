namespace Dataplane;

/// <summary>What an lcore is for.</summary>
public enum LcoreRole
{
    /// <summary>Not in use.</summary>
    Off,

    /// <summary>The main lcore: a worker like the others, by custom the one that runs what must run once.</summary>
    Main,

    /// <summary>Runs what <see cref="Eal.Launch(int, Func{Lcore, int})"/> gives it.</summary>
    Worker,

    /// <summary>Runs services; nothing can be launched on it.</summary>
    Service,

    /// <summary>A thread of the application's that was registered with the environment.</summary>
    Foreign,
}

/// <summary>What an lcore does.</summary>
public enum LcoreState
{
    /// <summary>Sleeps until something is launched.</summary>
    Wait,

    /// <summary>Runs a worker.</summary>
    Running,
}

/// <summary>Whether the main lcore takes part in <see cref="Eal.LaunchAll(Func{Lcore, int}, CallMain)"/>.</summary>
public enum CallMain
{
    /// <summary>Workers only.</summary>
    Skip,

    /// <summary>Workers and the main lcore.</summary>
    Call,
}
