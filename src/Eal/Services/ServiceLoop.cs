using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>What a service lcore does: runs its services in turn, and sleeps while it has none.</summary>
internal sealed class ServiceLoop(Services services, Lcore lcore)
{
    private Service[] _mapped = [];
    private uint _rounds;
    private volatile bool _asleep = true;

    internal Lcore Lcore { get; } = lcore;

    /// <summary>
    /// Its services; a list that is never changed, only replaced, under the lock of <see cref="Services"/>.
    /// </summary>
    internal Service[] Mapped
    {
        get => Volatile.Read(ref _mapped);     // M0 pairs with M1
        set => Volatile.Write(ref _mapped, value);   // M1
    }

    /// <summary>Rounds ended so far.</summary>
    internal uint Rounds => Volatile.Read(ref _rounds);

    /// <summary>
    /// Whether it runs nothing of a list that was replaced before a full fence, after which <paramref name="rounds"/>
    /// was
    /// read. It may load the list of its next round before others see the last round's end, hence two rounds and not
    /// one.
    /// </summary>
    internal bool HasLeft(uint rounds) => _asleep || Rounds - rounds >= 2;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal int Run()
    {
        ulong now = Tsc.Read();
        while (!Lcore.StopRequested)
        {
            _asleep = false;
            // Between being awake and loading the list; pairs with that in Services.Unregister.
            Interlocked.MemoryBarrier();
            now = RunRounds(now);
            _asleep = true;
            services.WaitForWork(this);
            now = Tsc.Read();
        }
        return 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private ulong RunRounds(ulong now)
    {
        while (Mapped is { Length: > 0 } mapped && !Lcore.StopRequested)
        {
            ulong start = now;
            bool worked = false;
            foreach (Service service in mapped)
                worked |= service.Run(Lcore, ref now) == ServiceResult.Worked;
            now = Tsc.Read();
            if (worked)
                Lcore.CountBusy(now - start);
            else
                Lcore.CountIdle(now - start);
            Volatile.Write(ref _rounds, _rounds + 1);
        }
        return now;
    }
}

internal readonly struct ServiceWorker(ServiceLoop loop) : ILcoreWorker
{
    public int Run(Lcore lcore) => loop.Run();
}
