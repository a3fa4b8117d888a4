using System.Globalization;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// A socket in a process's runtime directory. Telemetry's is <c>dpdk_telemetry.v2</c>, where DPDK's programs look for
/// it, or that with <c>:1</c>, <c>:2</c>, ... behind it where other processes have those before; others likewise.
/// </summary>
internal sealed class TelemetrySocket : IDisposable
{
    /// <summary>Telemetry's file.</summary>
    internal const string TelemetryName = "dpdk_telemetry.v2";

    private const int MaxInstances = 1000;

    private static readonly TimeSpan s_settled = TimeSpan.FromMinutes(1);

    private readonly string _directory;

    private TelemetrySocket(string directory, string path, UnixSocket listener) =>
        (_directory, Path, Listener) = (directory, path, listener);

    internal string Path { get; }

    internal UnixSocket Listener { get; }

    /// <summary>The runtime directory of all processes with a file prefix: what dpdk-telemetry.py works out.</summary>
    internal static string RuntimeDirectory(string prefix)
    {
        string? root = Environment.GetEnvironmentVariable("RUNTIME_DIRECTORY");
        if (string.IsNullOrEmpty(root))
            root = Environment.IsPrivilegedProcess ? "/var/run" : Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        return System.IO.Path.Combine(string.IsNullOrEmpty(root) ? "/tmp" : root, "dpdk", prefix);
    }

    /// <summary>Makes the directory, mode 0700, and listens in it.</summary>
    /// <exception cref="DataplaneException">The kernel's reason.</exception>
    internal static TelemetrySocket Open(string prefix, string name)
    {
        string directory = RuntimeDirectory(prefix);
        // Another process may take the directory away when it is the last to leave; then make it anew.
        for (int tries = 0; ; tries++)
        {
            try
            {
                Make(System.IO.Path.GetDirectoryName(directory)!);
                Make(directory);
                using SafeFileHandle held = LockDirectory(directory);
                return Listen(directory, name);
            }
            catch (NativeException e) when (e.Errno == Errno.ENOENT && tries < 100)
            {
            }
        }
    }

    /// <summary>Ends listening; removes the socket, and the directory where nobody else uses it.</summary>
    public void Dispose()
    {
        try
        {
            using SafeFileHandle held = LockDirectory(_directory);
            Listener.Dispose();
            if (!Directory.EnumerateFileSystemEntries(_directory).Any())
                Directory.Delete(_directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NativeException)
        {
            Listener.Dispose();   // somebody removed it already, or took our rights to
        }
    }

    /// <summary>Removes runtime directories of processes that were killed: those where a control socket of ours is,
    /// nothing but sockets of ours, and nobody behind any of them. What cannot be removed stays.</summary>
    internal static void RemoveDead()
    {
        try
        {
            foreach (string directory in Directory.EnumerateDirectories(
                System.IO.Path.GetDirectoryName(RuntimeDirectory("any"))!))
                RemoveIfDead(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // not ours to read, or gone
        }
    }

    private static void RemoveIfDead(string directory)
    {
        try
        {
            // Others' sockets have telemetry's name too, and look dead between bind and listen; a minute is enough.
            if (!HasControl(directory) || DateTime.UtcNow - Directory.GetLastWriteTimeUtc(directory) < s_settled)
                return;
            // Ours are made with this lock held, so whatever looks dead now is.
            using SafeFileHandle held = Fcntl.open(directory, Fcntl.O_RDONLY | Fcntl.O_CLOEXEC, 0);
            if (held.IsInvalid || Fcntl.flock(held, Fcntl.LOCK_EX | Fcntl.LOCK_NB) != 0)
                return;
            string[] entries = Directory.GetFileSystemEntries(directory);
            if (!HasControl(directory) || !entries.All(entry => IsOurs(entry)
                && UnixSocket.IsDead(entry, Socket.SOCK_SEQPACKET)))
                return;
            foreach (string entry in entries)
                File.Delete(entry);
            Directory.Delete(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NativeException)
        {
            // another removed it first, or it is another user's
        }
    }

    private static bool HasControl(string directory) =>
        Directory.EnumerateFileSystemEntries(directory, ControlService.FileName + "*").Any();

    private static bool IsOurs(string path) => System.IO.Path.GetFileName(path) is var name
        && (name.StartsWith(ControlService.FileName, StringComparison.Ordinal)
            || name.StartsWith(TelemetryName, StringComparison.Ordinal));

    private static TelemetrySocket Listen(string directory, string name)
    {
        string first = System.IO.Path.Combine(directory, name);
        for (int instance = 0; ; instance++)
        {
            string path = instance == 0 ? first : string.Create(CultureInfo.InvariantCulture, $"{first}:{instance}");
            try
            {
                return new(directory, path, UnixSocket.Listen(path, Socket.SOCK_SEQPACKET));
            }
            catch (NativeException e) when (e.Errno == Errno.EADDRINUSE && instance < MaxInstances)
            {
            }
        }
    }

    private static void Make(string directory)
    {
        if (Unistd.mkdir(directory, Convert.ToUInt32("700", 8)) == 0
            || (Errno)Marshal.GetLastPInvokeError() == Errno.EEXIST)
            return;
        throw NativeException.FromErrno($"mkdir '{directory}'",
            fix: "set RUNTIME_DIRECTORY to a directory that can be written, or leave telemetry out: --no-telemetry");
    }

    // Between bind and listen a socket looks dead, and one who starts at the same time would take its place.
    private static SafeFileHandle LockDirectory(string directory)
    {
        SafeFileHandle handle = Fcntl.open(directory, Fcntl.O_RDONLY | Fcntl.O_CLOEXEC, 0);
        if (!handle.IsInvalid && Fcntl.flock(handle, Fcntl.LOCK_EX) == 0)
            return handle;
        NativeException failure = NativeException.FromErrno($"flock '{directory}'");
        handle.Dispose();
        throw failure;
    }
}
