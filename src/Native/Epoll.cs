using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Native;

/// <summary>One file's readiness. sys/epoll.h; packed on x86-64 alone, so another layout elsewhere.</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct epoll_event
{
    [FieldOffset(0)] internal uint events;
    [FieldOffset(4)] internal ulong data;
}

/// <summary>Waiting for many files at once. sys/epoll.h.</summary>
internal static unsafe partial class Epoll
{
    internal const int EPOLL_CLOEXEC = 0x80000, EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3;
    internal const uint EPOLLIN = 1, EPOLLOUT = 4, EPOLLERR = 8, EPOLLHUP = 16, EPOLLET = 1u << 31;

    [LibraryImport("libc", SetLastError = true)]
    private static partial SafeFileHandle epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(SafeFileHandle epfd, int op, SafeFileHandle fd, epoll_event* ev);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(SafeFileHandle epfd, epoll_event* events, int maxevents, int timeout);

    /// <summary>A set without files.</summary>
    internal static SafeFileHandle Create()
    {
        SafeFileHandle set = epoll_create1(EPOLL_CLOEXEC);
        return set.IsInvalid ? throw NativeException.FromErrno("epoll_create1") : set;
    }

    /// <summary>Watches a file for something to read.</summary>
    internal static void Add(SafeFileHandle set, SafeFileHandle fd, ulong data)
    {
        epoll_event what = new() { events = EPOLLIN, data = data };
        if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &what) < 0)
            throw NativeException.FromErrno("epoll_ctl EPOLL_CTL_ADD");
    }

    /// <summary>Watches a file no more.</summary>
    internal static void Remove(SafeFileHandle set, SafeFileHandle fd)
    {
        epoll_event none = default;
        if (epoll_ctl(set, EPOLL_CTL_DEL, fd, &none) < 0)
            throw NativeException.FromErrno("epoll_ctl EPOLL_CTL_DEL");
    }

    /// <summary>From now on reports a file of the set only when more arrives in it.</summary>
    internal static void MakeEdge(SafeFileHandle set, SafeFileHandle fd, ulong data) =>
        Watch(set, fd, data, EPOLLIN | EPOLLET);

    /// <summary>From now on reports a file of the set when one of these <paramref name="events"/> is there.</summary>
    internal static void Watch(SafeFileHandle set, SafeFileHandle fd, ulong data, uint events)
    {
        epoll_event what = new() { events = events, data = data };
        if (epoll_ctl(set, EPOLL_CTL_MOD, fd, &what) < 0)
            throw NativeException.FromErrno("epoll_ctl EPOLL_CTL_MOD");
    }

    /// <summary>Waits. Allocates nothing after its first call.</summary>
    /// <param name="set">The files.</param>
    /// <param name="events">Filled from its start.</param>
    /// <param name="timeoutMs">At most; -1 for ever.</param>
    /// <returns>How many are ready; 0 in time-out, and when a signal came.</returns>
    internal static int Wait(SafeFileHandle set, Span<epoll_event> events, int timeoutMs)
    {
        fixed (epoll_event* first = events)
            return Math.Max(0, epoll_wait(set, first, events.Length, timeoutMs));
    }
}
