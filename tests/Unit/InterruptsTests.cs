using Dataplane.Native;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

public sealed class InterruptsTests : IDisposable
{
    private static readonly TimeSpan s_most = TimeSpan.FromSeconds(60);
    private readonly ListLogger _log = new();   // written by the control thread, read when it is quiet
    private readonly Eal _eal;

    public InterruptsTests() =>
        _eal = Eal.Initialize(new EalOptions { NoHuge = true, Lcores = [new(0, Affinity.Get())] },
            new Factory(_log));

    public void Dispose() => _eal.Dispose();

    [Fact]
    public void Register_EachSignal_CallsBackOnTheControlThread()
    {
        using SafeFileHandle fd = Eventfd.Create();
        using var called = new SemaphoreSlim(0);
        string? thread = null;
        ulong total = 0;
        using IDisposable registration = _eal.Interrupts.Register(fd, () =>
        {
            thread = Thread.CurrentThread.Name;
            total += Eventfd.Drain(fd);
            called.Release();
        });
        for (ulong i = 1; i <= 3; i++)
        {
            Eventfd.Signal(fd);
            Assert.True(called.Wait(s_most));
            Assert.Equal(i, total);
        }
        Assert.Equal("dp-interrupt", thread);
    }

    [Fact]
    public void Register_ManyFiles_EachCallsItsOwn()
    {
        SafeFileHandle[] fds = [.. Enumerable.Range(0, 50).Select(_ => Eventfd.Create())];
        int[] calls = new int[fds.Length];
        using var done = new CountdownEvent(fds.Length);
        IDisposable[] registrations = [.. fds.Select((fd, i) => _eal.Interrupts.Register(fd, () =>
        {
            if (Eventfd.Drain(fd) == (ulong)i + 1)
                calls[i]++;
            done.Signal();
        }))];
        for (int i = 0; i < fds.Length; i++)
            fds[i].SignalMany(i + 1);
        Assert.True(done.Wait(s_most));
        foreach (IDisposable registration in registrations)
            registration.Dispose();
        foreach (SafeFileHandle fd in fds)
            fd.Dispose();
        Assert.All(calls, count => Assert.Equal(1, count));
    }

    [Fact]
    public void Dispose_OfARegistration_WaitsForItsCallbackAndEndsIt()
    {
        using SafeFileHandle fd = Eventfd.Create(), other = Eventfd.Create();
        using ManualResetEventSlim inside = new(), leave = new(), otherCalled = new();
        int calls = 0;
        bool ended = false;
        IDisposable registration = _eal.Interrupts.Register(fd, () =>
        {
            calls++;
            inside.Set();
            leave.Wait(s_most);
            Volatile.Write(ref ended, true);
        });
        Eventfd.Signal(fd);
        Assert.True(inside.Wait(s_most));
        var disposing = new Thread(registration.Dispose);
        disposing.Start();
        Assert.False(disposing.Join(50), "it did not wait for the callback");
        leave.Set();
        Assert.True(disposing.Join(s_most));
        Assert.True(Volatile.Read(ref ended));

        // The file is readable still; a later event has passed by it, so it would have been called.
        using IDisposable second = _eal.Interrupts.Register(other, () =>
        {
            Eventfd.Drain(other);
            otherCalled.Set();
        });
        Eventfd.Signal(other);
        Assert.True(otherCalled.Wait(s_most));
        Assert.Equal(1, calls);
        registration.Dispose();
    }

    [Fact]
    public void Dispose_OfARegistrationInItsCallback_DoesNotWaitForItself()
    {
        using SafeFileHandle fd = Eventfd.Create();
        using var done = new ManualResetEventSlim();
        IDisposable? registration = null;
        lock (fd)
            registration = _eal.Interrupts.Register(fd, () =>
            {
                lock (fd)
                    registration!.Dispose();
                done.Set();
            });
        Eventfd.Signal(fd);
        Assert.True(done.Wait(s_most));
    }

    [Fact]
    public void Register_CallbackThrowsAndReadsNothing_IsLoggedAndCalledForMore()
    {
        using SafeFileHandle fd = Eventfd.Create();
        using var called = new SemaphoreSlim(0);
        int calls = 0;
        using IDisposable registration = _eal.Interrupts.Register(fd, () =>
        {
            calls++;
            called.Release();
            throw new InvalidOperationException("planted");
        });
        Eventfd.Signal(fd);
        Assert.True(called.Wait(s_most) && called.Wait(s_most));   // once as readable, once as it changes to edges
        Settle();
        Assert.Equal(2, calls);
        Eventfd.Signal(fd);
        Assert.True(called.Wait(s_most));
        Settle();
        Assert.Equal(3, calls);
        Assert.Equal(3, _log.Messages.Count(line => line.Contains("callback failed", StringComparison.Ordinal)));
    }

    [Fact]
    public void Dispose_OfTheEalInACallback_IsRefused()
    {
        using SafeFileHandle fd = Eventfd.Create();
        using var done = new ManualResetEventSlim();
        Exception? thrown = null;
        using IDisposable registration = _eal.Interrupts.Register(fd, () =>
        {
            Eventfd.Drain(fd);
            thrown = Record.Exception(_eal.Dispose);
            done.Set();
        });
        Eventfd.Signal(fd);
        Assert.True(done.Wait(s_most));
        Assert.Equal(Errno.EDEADLK, Assert.IsType<DataplaneException>(thrown).Errno);
    }

    [Fact]
    public void Register_AFileThatCannotBeWaitedFor_SaysSo()
    {
        string path = Path.GetTempFileName();
        using SafeFileHandle file = File.OpenHandle(path);
        var refused = Assert.Throws<NativeException>(() => _eal.Interrupts.Register(file, () => { }));
        Assert.Equal(Errno.EPERM, refused.Errno);
        File.Delete(path);
    }

    [Fact]
    public void Dispose_WithRegistrationsLeft_EndsAndTheyMayGoLater()
    {
        using SafeFileHandle fd = Eventfd.Create();
        IDisposable registration = _eal.Interrupts.Register(fd, () => { });
        _eal.Dispose();
        registration.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _eal.Interrupts.Register(fd, () => { }));
    }

    // A callback that was due before this is over when it returns.
    private void Settle()
    {
        for (int i = 0; i < 2; i++)
        {
            using SafeFileHandle fd = Eventfd.Create();
            using var done = new ManualResetEventSlim();
            using IDisposable registration = _eal.Interrupts.Register(fd, () =>
            {
                Eventfd.Drain(fd);
                done.Set();
            });
            Eventfd.Signal(fd);
            Assert.True(done.Wait(s_most));
        }
    }

    private sealed class Factory(ILogger logger) : ILoggerFactory
    {
        public ILogger CreateLogger(string categoryName) => logger;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public void Dispose()
        {
        }
    }
}

file static class EventfdExtensions
{
    internal static unsafe void SignalMany(this SafeFileHandle fd, int times)
    {
        ulong count = (ulong)times;
        Assert.Equal(sizeof(ulong), Unistd.write(fd, &count, sizeof(ulong)));
    }
}
