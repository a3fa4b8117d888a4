namespace Dataplane.Tests;

/// <summary>Both stacks under 2 to 8 threads, and the proof that these runs find what they look for.</summary>
public class StackStressTests
{
    private static readonly TimeSpan s_time = TimeSpan.FromSeconds(0.8), s_atMost = TimeSpan.FromSeconds(5);

    [Theory, InlineData(2), InlineData(4), InlineData(8)]
    public void LockFree_ManyThreads_LosesAndDoublesNothing(int threads)
    {
        Assert.Null(StackStress<DelayedLockFreeStack>.Run(StackKind.LockFree, threads, 20, s_time));
        Assert.Null(StackStress<ShippedLockFreeStack>.Run(StackKind.LockFree, threads, 21, s_time));
    }

    [Theory, InlineData(2), InlineData(8)]
    public void Locked_ManyThreads_LosesAndDoublesNothing(int threads) =>
        Assert.Null(StackStress<ShippedLockedStack>.Run(StackKind.Locked, threads, 22, s_time));

    [Fact]
    public void Detector_HeadWithoutChangeCount_IsReported() => AssertFound<UntaggedStack>(StackKind.LockFree);

    [Fact]
    public void Detector_NoLock_IsReported() => AssertFound<UnlockedStack>(StackKind.Locked);

    // Several seeds: on a busy machine one run may be too short to meet the race.
    private static void AssertFound<TStack>(StackKind kind) where TStack : struct, IStackUnderTest
    {
        string? report = null;
        for (int seed = 23; report == null && seed < 29; seed++)
            report = StackStress<TStack>.Run(kind, 4, seed, s_atMost);
        Assert.NotNull(report);
        Assert.StartsWith("element ", report);
    }
}
