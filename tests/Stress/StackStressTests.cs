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
    public void Detector_HeadWithoutChangeCount_IsReported() =>
        AssertFound(StackStress<UntaggedStack>.Run(StackKind.LockFree, 4, 23, s_atMost));

    [Fact]
    public void Detector_NoLock_IsReported() =>
        AssertFound(StackStress<UnlockedStack>.Run(StackKind.Locked, 4, 24, s_atMost));

    private static void AssertFound(string? report)
    {
        Assert.NotNull(report);
        Assert.StartsWith("element ", report);
    }
}
