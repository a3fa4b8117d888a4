using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>
/// The services of an environment and the lcores that run them (<c>-S</c>). Any thread; control path, but for RunOnce.
/// </summary>
public sealed class Services
{
    private readonly ILogger _logger;
    private readonly object _gate = new();   // guards the lists; pulsed for service lcores that have nothing to run
    private readonly Dictionary<string, Service> _byName = [];
    private readonly Dictionary<int, ServiceLoop> _loops = [];

    internal Services(ILogger logger) => _logger = logger;

    /// <summary>Those registered, in no order.</summary>
    public IReadOnlyList<Service> All
    {
        get
        {
            lock (_gate)
                return [.. _byName.Values];
        }
    }

    /// <summary>
    /// Adds a service and maps it to the service lcore with the fewest services, one on its memory node if there is
    /// such.
    /// It runs once its <see cref="Service.IsReady"/> is set.
    /// </summary>
    /// <param name="name">Unique.</param>
    /// <param name="body">What to run.</param>
    /// <param name="isMtSafe">Whether several lcores may run it at once.</param>
    /// <param name="numaNode">A node id or <see cref="Memory.AnyNode"/>.</param>
    /// <exception cref="DataplaneException">EEXIST: the name is taken.</exception>
    public Service Register(string name, IService body, bool isMtSafe = false, int numaNode = Memory.AnyNode)
    {
        lock (_gate)
        {
            var service = new Service(name, body, isMtSafe, numaNode, _logger);
            if (!_byName.TryAdd(name, service))
                throw new DataplaneException($"service '{name}' exists already", errno: Errno.EEXIST);
            ServiceLoop? loop = _loops.Values.OrderBy(loop => numaNode >= 0 && loop.Lcore.NumaNode != numaNode)
                .ThenBy(loop => loop.Mapped.Length).ThenBy(loop => loop.Lcore.Id).FirstOrDefault();
            if (loop != null)
                SetMapped(loop, [.. loop.Mapped, service]);
            return service;
        }
    }

    /// <summary>The service of that name, or null.</summary>
    public Service? Find(string name)
    {
        lock (_gate)
            return _byName.GetValueOrDefault(name);
    }

    /// <summary>
    /// Takes a service off all service lcores and returns when none of them is in it. An application's lcore that is in
    /// <see cref="RunOnce"/> with it is the application's to wait for.
    /// </summary>
    /// <exception cref="DataplaneException">
    /// ENOENT: it is not registered. EDEADLK: called on a service lcore.
    /// </exception>
    public void Unregister(Service service)
    {
        ThrowIfOnServiceLcore();
        (ServiceLoop Loop, uint Rounds)[] left;
        lock (_gate)
        {
            if (!_byName.TryGetValue(service.Name, out Service? known) || known != service)
                throw new DataplaneException($"service '{service.Name}' is not registered", errno: Errno.ENOENT);
            _byName.Remove(service.Name);
            service.MarkUnregistered();
            ServiceLoop[] mapped = [.. _loops.Values.Where(loop => loop.Mapped.Contains(service))];
            foreach (ServiceLoop loop in mapped)
                SetMapped(loop, [.. loop.Mapped.Where(other => other != service)]);
            Interlocked.MemoryBarrier();   // between the new lists and the rounds; see ServiceLoop.HasLeft
            left = [.. mapped.Select(loop => (loop, loop.Rounds))];
        }
        foreach ((ServiceLoop loop, uint rounds) in left)
        {
            var spin = new SpinWait();
            while (!loop.HasLeft(rounds))
                spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    /// <summary>
    /// Has a service lcore run a service, or no longer. One that is not MT-safe may be on several all the same.
    /// </summary>
    /// <exception cref="ConfigException">It is no service lcore.</exception>
    public void Map(Service service, int lcoreId, bool mapped = true)
    {
        lock (_gate)
        {
            ServiceLoop loop = GetLoop(lcoreId);
            IEnumerable<Service> others = loop.Mapped.Where(other => other != service);
            SetMapped(loop, mapped ? [.. others, service] : [.. others]);
        }
    }

    /// <summary>Whether a service lcore has a service to run.</summary>
    /// <exception cref="ConfigException">It is no service lcore.</exception>
    public bool IsMapped(Service service, int lcoreId)
    {
        lock (_gate)
            return GetLoop(lcoreId).Mapped.Contains(service);
    }

    /// <summary>Runs a service once on the calling lcore, besides the service lcores. Data path.</summary>
    /// <exception cref="ConfigException">The calling thread is no lcore.</exception>
    public static ServiceResult RunOnce(Service service)
    {
        Lcore lcore = Lcore.Current ?? throw new ConfigException(
            $"service '{service.Name}' was called on a thread that is no lcore",
            fix: "make it one: eal.RegisterThread()");
        ulong now = Tsc.Read();
        return service.Run(lcore, ref now);
    }

    /// <summary>The worker for a service lcore that was just started.</summary>
    internal ServiceLoop AddLcore(Lcore lcore)
    {
        var loop = new ServiceLoop(this, lcore);
        lock (_gate)
            _loops.Add(lcore.Id, loop);
        return loop;
    }

    /// <summary>Asks the service lcores to end.</summary>
    internal void Stop()
    {
        lock (_gate)
        {
            foreach (ServiceLoop loop in _loops.Values)
                loop.Lcore.SetStop(true);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Puts a service lcore to sleep until it has something to run or is to end.</summary>
    internal void WaitForWork(ServiceLoop loop)
    {
        lock (_gate)
            while (loop.Mapped.Length == 0 && !loop.Lcore.StopRequested)
                Monitor.Wait(_gate);
    }

    private void SetMapped(ServiceLoop loop, Service[] services)
    {
        loop.Mapped = services;
        Monitor.PulseAll(_gate);
    }

    private ServiceLoop GetLoop(int lcoreId) => _loops.TryGetValue(lcoreId, out ServiceLoop? loop) ? loop
        : throw new ConfigException($"lcore {lcoreId} is no service lcore",
            _loops.Count == 0 ? "there is none" : $"those are {CpuSet.Of([.. _loops.Keys])}", "name it in -S");

    private void ThrowIfOnServiceLcore()
    {
        if (Lcore.Current is { Role: LcoreRole.Service } lcore)
            throw new DataplaneException($"a service cannot be unregistered on service lcore {lcore.Id}",
                "that waits for service lcores", "do it on another thread", errno: Errno.EDEADLK);
    }
}
