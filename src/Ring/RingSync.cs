namespace Dataplane;

/// <summary>How many threads may be on one side of a ring at a time, and how they order themselves.</summary>
public enum RingSync
{
    /// <summary>Any number of threads; each waits for those before it to publish (MT).</summary>
    MultiThread = 0,

    /// <summary>One thread at a time; the caller sees to that (ST).</summary>
    SingleThread = 1,

    /// <summary>Any number; the last one out publishes for all (relaxed tail sync). Survives preempted threads
    /// better.</summary>
    RelaxedTail = 2,

    /// <summary>Any number; one at a time by head and tail (head-tail sync). Allows peek.</summary>
    HeadTail = 3,
}
