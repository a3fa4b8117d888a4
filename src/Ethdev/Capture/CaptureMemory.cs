using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>
/// The application's memory of one capture: the rings, which others can map but not write, shrink or punch holes in,
/// and a page or more where the reader writes how far it is. Control path.
/// </summary>
internal sealed unsafe class CaptureMemory : IDisposable
{
    /// <summary>Bytes of a reader's line for each ring.</summary>
    internal const uint LineBytes = 128;

    private byte* _rings, _lines;

    /// <summary>Takes it from the system, every page of it.</summary>
    /// <exception cref="NativeException">ENOMEM, ENOSPC, EMFILE; EINVAL: a kernel before 5.1.</exception>
    internal CaptureMemory(int rings, uint ringBytes)
    {
        Stride = CaptureRingHeader.Bytes + ringBytes;
        RingsBytes = (nuint)(Stride * (ulong)rings);
        LinesBytes = ((nuint)rings * LineBytes + 4095) & ~(nuint)4095;
        try
        {
            // Mapped before it is sealed: from then on nobody else gets a mapping that can be written.
            RingsFile = Make("dataplane:capture", RingsBytes, out _rings);
            Seal(RingsFile, Fcntl.F_SEAL_SHRINK | Fcntl.F_SEAL_GROW | Fcntl.F_SEAL_FUTURE_WRITE | Fcntl.F_SEAL_SEAL);
            LinesFile = Make("dataplane:capture-reader", LinesBytes, out _lines);
            Seal(LinesFile, Fcntl.F_SEAL_SHRINK | Fcntl.F_SEAL_GROW | Fcntl.F_SEAL_SEAL);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>From one ring to the next, bytes.</summary>
    internal ulong Stride { get; }

    internal nuint RingsBytes { get; }

    internal nuint LinesBytes { get; }

    /// <summary>The rings' file, and that of the lines.</summary>
    internal SafeFileHandle RingsFile { get; } = new();

    internal SafeFileHandle LinesFile { get; } = new();

    /// <summary>Where a ring begins.</summary>
    internal byte* Ring(int index) => _rings + Stride * (ulong)index;

    /// <summary>The reader's line of a ring.</summary>
    internal ulong* Line(int index) => (ulong*)(_lines + (ulong)index * LineBytes);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_rings != null)
            _ = Mman.munmap(_rings, RingsBytes);
        if (_lines != null)
            _ = Mman.munmap(_lines, LinesBytes);
        _rings = _lines = null;
        RingsFile.Dispose();
        LinesFile.Dispose();
    }

    private static SafeFileHandle Make(string name, nuint bytes, out byte* at)
    {
        at = null;
        SafeFileHandle file = Mman.memfd_create(name, Mman.MFD_CLOEXEC | Mman.MFD_ALLOW_SEALING);
        if (file.IsInvalid)
            throw NativeException.FromErrno($"memfd_create '{name}'");
        // Pages are taken now: to find there is none later would end the process.
        void* mapped = Fcntl.fallocate(file, 0, 0, (long)bytes) != 0 ? Mman.MAP_FAILED : Mman.mmap(null, bytes,
            Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED | Mman.MAP_POPULATE, Socket.Fd(file), 0);
        if (mapped == Mman.MAP_FAILED)
        {
            NativeException failure = NativeException.FromErrno($"taking {bytes >> 10} KB for a capture",
                fix: "ask for less: fewer queues, or a smaller --buffer-size");
            file.Dispose();
            throw failure;
        }
        _ = Mman.madvise(mapped, bytes, Mman.MADV_DONTDUMP);
        at = (byte*)mapped;
        return file;
    }

    private static void Seal(SafeFileHandle file, int seals)
    {
        if (Fcntl.fcntl(file, Fcntl.F_ADD_SEALS, seals) != 0)
            throw NativeException.FromErrno("sealing a capture's memory", "F_SEAL_FUTURE_WRITE came with Linux 5.1");
    }
}
