using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>A stretch of a BAR.</summary>
internal readonly record struct BarArea(ulong Offset, ulong SizeBytes);

/// <summary>
/// A BAR mapped into the process as one block: where a part of it cannot be mapped there is a hole, and touching it
/// ends the process.
/// </summary>
internal sealed unsafe class VfioBar : IDisposable
{
    private void* _base;
    private readonly nuint _length;
    private readonly ulong _sizeBytes;

    /// <summary>Maps the parts of a region that can be.</summary>
    /// <exception cref="NativeException">The kernel refuses; nothing is kept.</exception>
    internal VfioBar(SafeFileHandle device, int bar, vfio_region_info region, IReadOnlyList<BarArea> areas)
    {
        _sizeBytes = region.size;
        _length = (nuint)RoundUp(region.size);
        void* all = Mman.mmap(null, _length, Mman.PROT_NONE,
            Mman.MAP_PRIVATE | Mman.MAP_ANONYMOUS | Mman.MAP_NORESERVE, -1, 0);
        if (all == Mman.MAP_FAILED)
            throw NativeException.FromErrno($"mmap of {_length} bytes of address space for BAR {bar}");
        _base = all;
        try
        {
            foreach (BarArea area in areas)
                if (Mman.mmap((byte*)all + area.Offset, (nuint)RoundUp(area.SizeBytes),
                    Mman.PROT_READ | Mman.PROT_WRITE, Mman.MAP_SHARED | Mman.MAP_FIXED, Socket.Fd(device),
                    (long)(region.offset + area.Offset)) == Mman.MAP_FAILED)
                    throw NativeException.FromErrno(
                        $"mmap of BAR {bar}, 0x{area.SizeBytes:x} bytes at 0x{area.Offset:x}");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Its registers.</summary>
    internal Mmio Registers => new(_base, _sizeBytes);

    /// <summary>Unmaps it. Any number of times.</summary>
    public void Dispose()
    {
        if (_base != null)
            _ = Mman.munmap(_base, _length);   // fails only on a wrong address
        _base = null;
    }

    /// <summary>The parts of a BAR that can be mapped, in whole pages.</summary>
    /// <param name="sizeBytes">Of the BAR.</param>
    /// <param name="sparse">The parts the kernel lets map, null for all of it.</param>
    /// <param name="hole">What must not be mapped, or null.</param>
    /// <exception cref="DeviceException">The kernel's parts do not lie in the BAR.</exception>
    internal static List<BarArea> Mappable(ulong sizeBytes, IReadOnlyList<BarArea>? sparse, BarArea? hole)
    {
        var areas = new List<BarArea>();
        foreach (BarArea area in sparse ?? [new(0, sizeBytes)])
        {
            if (area.SizeBytes == 0)
                continue;
            if (area.Offset % Page != 0 || area.Offset >= sizeBytes || area.SizeBytes > sizeBytes - area.Offset)
                throw new DeviceException(
                    $"the kernel lets map 0x{area.SizeBytes:x} bytes at 0x{area.Offset:x} of a BAR",
                    $"it has 0x{sizeBytes:x} bytes, and pages have 0x{Page:x}", errno: Errno.EBADMSG);
            if (hole is not { } not)
            {
                areas.Add(area);
                continue;
            }
            ulong end = area.Offset + area.SizeBytes, from = not.Offset & ~(Page - 1),
                to = RoundUp(not.Offset + not.SizeBytes);
            if (area.Offset < Math.Min(from, end))
                areas.Add(new(area.Offset, Math.Min(from, end) - area.Offset));
            if (end > Math.Max(to, area.Offset))
                areas.Add(new(Math.Max(to, area.Offset), end - Math.Max(to, area.Offset)));
        }
        return areas;
    }

    private static ulong Page => (ulong)Environment.SystemPageSize;

    private static ulong RoundUp(ulong bytes) => (bytes + Page - 1) & ~(Page - 1);
}
