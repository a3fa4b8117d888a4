namespace Dataplane;

/// <summary>Physical addresses of our pages. Documentation/admin-guide/mm/pagemap.rst.</summary>
internal static unsafe class Pagemap
{
    private const ulong PresentBit = 1UL << 63;
    private const ulong FrameMask = (1UL << 55) - 1;

    /// <summary>Fills in the physical address of each page from <paramref name="address"/> on.</summary>
    /// <exception cref="DataplaneException">Not readable, or the kernel hides the frame numbers from us.</exception>
    internal static void Read(byte* address, nuint pageSizeBytes, Span<ulong> physical)
    {
        nuint small = PageSource.OrdinaryPageSize;
        try
        {
            using FileStream file = new("/proc/self/pagemap", FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0);
            Span<byte> entry = stackalloc byte[8];
            for (int page = 0; page < physical.Length; page++)
            {
                nuint at = (nuint)address + (nuint)page * pageSizeBytes;
                file.Position = (long)(at / small * 8);
                file.ReadExactly(entry);
                ulong value = BitConverter.ToUInt64(entry);
                if ((value & PresentBit) == 0 || (value & FrameMask) == 0)
                    throw NoFrames(Errno.EPERM);
                physical[page] = (value & FrameMask) * small;
            }
        }
        catch (UnauthorizedAccessException)
        {
            throw NoFrames(Errno.EACCES);
        }
    }

    private static DataplaneException NoFrames(Errno errno) =>
        new("cannot learn physical addresses from /proc/self/pagemap",
            why: "--iova-mode=pa or --unsafe-noiommu needs them, and the kernel shows them only with CAP_SYS_ADMIN",
            fix: "run as root, or leave the option out (real devices then need an IOMMU)",
            see: "docs/setup/hugepages.md", errno: errno);
}
