using System.Globalization;

namespace Dataplane.Tests;

public sealed class LcoreThreadTests : IDisposable
{
    private static readonly CpuSet s_cpus = Affinity.Get();
    private readonly Eal _eal = Eal.Initialize(new EalOptions { Lcores = [new(2, CpuSet.Of(s_cpus.First))] });

    public void Dispose() => _eal.Dispose();

    private static T OnThread<T>(Func<T> body)
    {
        T result = default!;
        var thread = new Thread(() => result = body());
        thread.Start();
        thread.Join();
        return result;
    }

    [Fact]
    public void RegisterThread_ForeignThread_GetsALowFreeIdAndGivesItBack()
    {
        int[] ids = OnThread(() =>
        {
            Lcore lcore = _eal.RegisterThread();
            Assert.Same(lcore, Lcore.Current);
            Assert.Same(lcore, _eal.RegisterThread());
            Assert.Equal(LcoreRole.Foreign, lcore.Role);
            int second = OnThread(() => _eal.RegisterThread().Id);
            int third = OnThread(() => _eal.RegisterThread().Id);   // the second's thread has ended meanwhile
            _eal.UnregisterThread();
            Assert.Null(Lcore.Current);
            return new[] { lcore.Id, second, third };
        });
        Assert.Equal([0, 1, 1], ids);
        Assert.Throws<ConfigException>(() => _eal.GetLcore(0));
    }

    [Fact]
    public void RegisterThread_LcoreOfAnotherEal_IsRefused()
    {
        using Eal other = Eal.Initialize(new EalOptions { Lcores = [new(0, s_cpus)] });
        _eal.Launch(2, _ => other.RegisterThread().Id);
        LcoreException refused = Assert.Throws<LcoreException>(() => _eal.Wait(2));
        Assert.Equal(Errno.EBUSY, Assert.IsType<DataplaneException>(refused.InnerException).Errno);
    }

    [Fact]
    public void RegisterThread_AllIdsTaken_IsRefused()
    {
        using var done = new ManualResetEventSlim();
        var threads = new List<Thread>();
        for (int i = 0; i < Lcore.Max - 1; i++)
        {
            using var registered = new ManualResetEventSlim();
            var thread = new Thread(() =>
            {
                _eal.RegisterThread();
                registered.Set();
                done.Wait();
            }, 256 * 1024);
            thread.Start();
            registered.Wait();
            threads.Add(thread);
        }
        Exception? refused = OnThread(() => Record.Exception(_eal.RegisterThread));
        done.Set();
        threads.ForEach(thread => thread.Join());
        Assert.Contains("all 128", Assert.IsType<DataplaneException>(refused).Message);
    }

    [Fact]
    public void Launch_RegisteredThread_IsRefused() => OnThread(() =>
    {
        int id = _eal.RegisterThread().Id;
        Assert.Contains("Foreign", Assert.Throws<ConfigException>(() => _eal.Launch(id, _ => 0)).Message);
        _eal.UnregisterThread();
        return 0;
    });

    [Fact]
    public void ControlThread_RunsOffTheLcoresWhereItCan()
    {
        CpuSet? cpus = null;
        _eal.StartControlThread("dp-test", () => cpus = Affinity.Get()).Join();
        CpuSet rest = s_cpus.Except(CpuSet.Of(s_cpus.First));
        Assert.Equal(rest.Count > 0 ? rest : s_cpus, cpus);
    }

    [Fact]
    public void AuditThreads_PlantedOverlap_IsFoundAndTheLcoreIsNot()
    {
        using var done = new ManualResetEventSlim();
        using var pinned = new ManualResetEventSlim();
        var intruder = new Thread(() =>
        {
            Affinity.SetCurrent(_eal.LcoreCpus);
            pinned.Set();
            done.Wait();
        }) { Name = "dp-intruder" };
        intruder.Start();
        pinned.Wait();
        IReadOnlyList<ForeignThread> found = _eal.AuditThreads();
        done.Set();
        intruder.Join();
        ForeignThread thread = Assert.Single(found, t => t.Name == "dp-intruder");
        Assert.Equal(_eal.LcoreCpus, thread.Shared);
        Assert.DoesNotContain(found, t => t.Name == "dp-main-2" && t.Tid == _eal.MainLcore.Thread!.Tid);
    }

    [Fact]
    public void AuditThreads_FakeTaskDirectory_ReadsNamesAndMasks()
    {
        string root = Directory.CreateTempSubdirectory("dp-task-").FullName;
        foreach ((int tid, string cpus) in new[] { (10, "0-1"), (11, "2-3"), (12, "1") })
        {
            string name = tid.ToString(CultureInfo.InvariantCulture);
            string dir = Directory.CreateDirectory(Path.Combine(root, name)).FullName;
            File.WriteAllText(Path.Combine(dir, "status"), $"Name:\tt {tid}\nState:\tS\nCpus_allowed_list:\t{cpus}\n");
        }
        Directory.CreateDirectory(Path.Combine(root, "13"));   // ended between listing and reading
        List<ForeignThread> found = ThreadAudit.Run(CpuSet.Of(1, 2), new HashSet<int> { 12 }, root);
        Directory.Delete(root, recursive: true);
        Assert.Equal([new(10, "t 10", CpuSet.Of(0, 1), CpuSet.Of(1)), new(11, "t 11", CpuSet.Of(2, 3), CpuSet.Of(2))],
            found.OrderBy(thread => thread.Tid));
    }

    [Fact]
    public void LcoreLocal_EachLcore_HasItsOwnOnItsOwnLines()
    {
        using var local = new LcoreLocal<long>(_eal.Memory);
        _eal.Launch(2, lcore => { local.Value = 42; return 0; });
        _eal.Wait(2);
        Assert.Equal(42, local[2]);
        Assert.Equal(0, local[1]);
        unsafe
        {
            fixed (long* a = &local[1], b = &local[2])
                Assert.Equal(128, (byte*)b - (byte*)a);
        }
    }

    [Fact]
    public void LcoreLocal_NoLcoreOrNoSuchId_IsRefused()
    {
        var local = new LcoreLocal<long>(_eal.Memory);
        Assert.Throws<InvalidOperationException>(() => local.Value = 1);
        Assert.Throws<InvalidOperationException>(() => local[Lcore.Max]);
        local.Dispose();
        Assert.Throws<InvalidOperationException>(() => local[2]);
    }
}
