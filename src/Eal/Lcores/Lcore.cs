namespace Dataplane;

/// <summary>A logical core: a dedicated thread pinned to its CPUs, or the record of one.</summary>
public sealed class Lcore
{
    [ThreadStatic] private static Lcore? t_current;
    [ThreadStatic] private static int t_idPlusOne;

    internal Lcore(int id) => Id = id;

    /// <summary>Highest number of lcores in one environment; ids are below it.</summary>
    public const int Max = 128;

    /// <summary>The id of a thread that is no lcore.</summary>
    public const int NoId = -1;

    /// <summary>0 to <see cref="Max"/> - 1.</summary>
    public int Id { get; }

    /// <summary>The lcore this thread is, or null.</summary>
    public static Lcore? Current => t_current;

    /// <summary>This thread's lcore id, <see cref="NoId"/> where it is none. Data path.</summary>
    public static int CurrentId => t_idPlusOne - 1;

    /// <summary>Makes the calling thread this lcore (null: none).</summary>
    internal static void SetCurrent(Lcore? lcore)
    {
        t_current = lcore;
        t_idPlusOne = lcore == null ? 0 : lcore.Id + 1;
    }
}
