using System.Globalization;
using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// Pages from named files in a hugetlbfs directory: <c>PREFIXmap_NODE_KB</c>, one per memseg list, removed on dispose.
/// Files of a dead process with the same prefix are removed at start; a live one is named and left alone.
/// </summary>
internal sealed unsafe class HugeDirSource : PageSource
{
    private readonly string _directory, _stem;
    private readonly List<string> _files = [];
    private SafeFileHandle? _directoryFd, _lockFd;

    /// <exception cref="DataplaneException">No usable hugetlbfs directory, or another process has the
    /// prefix.</exception>
    internal HugeDirSource(string directory, string prefix) : base(prefix)
    {
        if (prefix.Contains('/', StringComparison.Ordinal))
            throw new ConfigException($"--file-prefix '{prefix}' has a '/'", fix: "it becomes part of file names");
        _directory = Path.GetFullPath(directory);
        _stem = prefix + "map_";
        OnlyHugepageSize = PageSizeOf(_directory);
        try
        {
            _directoryFd = OpenFile(_directory, Fcntl.O_RDONLY);
            LockDirectory(Fcntl.LOCK_EX);
            TakePrefix(prefix);
            RemoveMaps();
            LockDirectory(Fcntl.LOCK_UN);
        }
        catch
        {
            Close();
            throw;
        }
    }

    internal override nuint OnlyHugepageSize { get; }

    // Held by an advisory lock as long as we live: the kernel drops it with us, however we end.
    private string LockPath => Path.Combine(_directory, _stem + "lock");

    internal override SafeFileHandle Open(int node, nuint pageSizeBytes)
    {
        if (pageSizeBytes == OrdinaryPageSize)
            return base.Open(node, pageSizeBytes);
        string path = Path.Combine(_directory, string.Create(CultureInfo.InvariantCulture,
            $"{_stem}{node}_{pageSizeBytes >> 10}"));
        SafeFileHandle fd = OpenFile(path, Fcntl.O_RDWR | Fcntl.O_CREAT | Fcntl.O_EXCL);
        _files.Add(path);
        return fd;
    }

    public override void Dispose()
    {
        foreach (string file in _files)
            _ = Fcntl.unlink(file);
        _files.Clear();
        if (_lockFd != null)
        {
            LockDirectory(Fcntl.LOCK_EX);   // nobody may have opened the lock file we are about to remove
            _ = Fcntl.unlink(LockPath);
        }
        Close();
        base.Dispose();
    }

    private static nuint PageSizeOf(string directory)
    {
        Statfs.statfs_t fs;
        if (Statfs.statfs(directory, &fs) < 0)
            throw NativeException.FromErrno($"--huge-dir '{directory}' cannot be used", fix: MountCommand(directory));
        if (fs.f_type != Statfs.HUGETLBFS_MAGIC)
            throw new ConfigException($"--huge-dir '{directory}' is not on a hugetlbfs", fix: MountCommand(directory));
        return (nuint)fs.f_bsize;
    }

    private static string MountCommand(string directory) =>
        $"sudo mkdir -p {directory} && sudo mount -t hugetlbfs -o pagesize=2M,uid=$(id -u) none {directory}";

    private static SafeFileHandle OpenFile(string path, int flags)
    {
        SafeFileHandle fd = Fcntl.open(path, flags | Fcntl.O_CLOEXEC, 0x180 /* 0600 */);
        return !fd.IsInvalid ? fd : throw NativeException.FromErrno($"cannot open '{path}'",
            fix: $"sudo chown $(id -u) {Path.GetDirectoryName(path)}");
    }

    private void TakePrefix(string prefix)
    {
        SafeFileHandle fd = OpenFile(LockPath, Fcntl.O_RDWR | Fcntl.O_CREAT);
        if (Fcntl.flock(fd, Fcntl.LOCK_EX | Fcntl.LOCK_NB) < 0)
        {
            fd.Dispose();
            throw new ConfigException($"--file-prefix '{prefix}' is in use in {_directory}",
                why: FileHolder.Describe(LockPath), fix: "end it, or give another --file-prefix");
        }
        _lockFd = fd;
    }

    // Ours alone under the lock, so whatever is there is of a process that died.
    private void RemoveMaps()
    {
        foreach (string path in Directory.EnumerateFiles(_directory, _stem + "*"))
            if (IsMap(Path.GetFileName(path.AsSpan())[_stem.Length..]) && Fcntl.unlink(path) < 0)
                throw NativeException.FromErrno($"cannot remove '{path}', left by a process that died",
                    fix: $"sudo rm {path}");
    }

    private static bool IsMap(ReadOnlySpan<char> rest)
    {
        int bar = rest.IndexOf('_');
        return bar > 0 && int.TryParse(rest[..bar], NumberStyles.None, CultureInfo.InvariantCulture, out _)
            && long.TryParse(rest[(bar + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out _);
    }

    private void LockDirectory(int operation)
    {
        while (Fcntl.flock(_directoryFd!, operation) < 0)
            if ((Errno)Marshal.GetLastPInvokeError() != Errno.EINTR)
                throw NativeException.FromErrno($"flock of '{_directory}'");
    }

    private void Close()
    {
        _lockFd?.Dispose();
        _directoryFd?.Dispose();
        _lockFd = _directoryFd = null;
    }
}
