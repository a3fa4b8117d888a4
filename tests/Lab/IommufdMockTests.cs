using System.Buffers.Binary;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>
/// Dirty pages and page requests, which no IOMMU that QEMU models can do, on the mock device of the kernel's own
/// selftest (CONFIG_IOMMUFD_TEST, drivers/iommu/iommufd/iommufd_test.h): its pages are dirtied and its faults raised by
/// command, all else is the kernel's iommufd.
/// </summary>
[Guest(Machines.Bare | Machines.Intel72)]   // before 6.14 Intel's driver takes the mock for its own
public sealed unsafe class IommufdMockTests : IDisposable
{
    private const nuint TestCommand = (';' << 8) | 0xa0;   // _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE + 32)
    private const uint MockDomain = 2, MockDomainReplace = 10, Dirty = 13, TriggerPageFault = 15;
    private const ulong Aperture = 1 << 24, PageBytes = 4096, MockPageBytes = 2048;   // it has pages half of ours
    private const nuint MemoryBytes = 1 << 20;

    private readonly IommufdContext _context = new(handedIn: null, log: null);
    private readonly byte* _memory = (byte*)Mman.mmap(null, MemoryBytes, Mman.PROT_READ | Mman.PROT_WRITE,
        Mman.MAP_PRIVATE | Mman.MAP_ANONYMOUS, -1, 0);
    private readonly uint _ioas, _mock, _device;

    public IommufdMockTests()
    {
        _ioas = Iommufd.AllocIoas(_context.Fd);
        Iommufd.SetOption(Fd, Iommufd.IOMMU_OPTION_HUGE_PAGES, _ioas, 0);   // a bit for each page, however they lie
        Span<byte> answer = Command(MockDomain, _ioas);
        _mock = BinaryPrimitives.ReadUInt32LittleEndian(answer);
        _device = BinaryPrimitives.ReadUInt32LittleEndian(answer[8..]);
        _context.Map(_ioas, new((nuint)_memory, MemoryBytes, new(Aperture)));
    }

    private SafeFileHandle Fd => _context.Fd;

    public void Dispose()
    {
        _context.Dispose();
        _ = Mman.munmap(_memory, MemoryBytes);
    }

    [Fact]
    public void ReadDirty_PagesTheDeviceWrote_AreExactlyThoseUntilCleared()
    {
        int[] written = [0, 1, 63, 64, 200, 255];
        using var table = new IommufdPageTable(Fd, _device, _ioas, Iommufd.IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
        Assert.Empty(Read(table, clear: true));
        table.Track(true);
        Write(table, written);
        Assert.Equal(written, Read(table, clear: false));
        Assert.Equal(written, Read(table, clear: true));
        Assert.Empty(Read(table, clear: true));
        Write(table, [7]);
        Assert.Equal([7], Read(table, clear: true));
        table.Track(false);
    }

    [Fact]
    public void Track_PageTableWithoutTheFlag_IsRefused()
    {
        using var table = new IommufdPageTable(Fd, _device, _ioas, 0);
        Assert.Equal(Errno.EOPNOTSUPP, Assert.Throws<NativeException>(() => table.Track(true)).Errno);
    }

    [Fact]
    public void FaultQueue_PageRequestOfTheDevice_IsReadAndAnswered()
    {
        Assert.SkipWhen(Guest.Machine!.Kernel == "6.12", "the mock of 6.12 has page requests for nested tables only");
        using var queue = new IommuFaultQueue(Fd);
        using var table = new IommufdPageTable(Fd, _device, _ioas, 0, queue);
        Span<byte> replace = stackalloc byte[4], fault = stackalloc byte[24];
        BinaryPrimitives.WriteUInt32LittleEndian(replace, table.Id);
        Command(MockDomainReplace, _mock, replace);
        BinaryPrimitives.WriteUInt32LittleEndian(fault, _device);
        BinaryPrimitives.WriteUInt32LittleEndian(fault[8..], 1);   // its group
        BinaryPrimitives.WriteUInt32LittleEndian(fault[12..], Iommufd.IOMMU_PGFAULT_PERM_WRITE);
        BinaryPrimitives.WriteUInt64LittleEndian(fault[16..], 0x1234000);
        Command(TriggerPageFault, 0, fault);
        IommuFault seen = Assert.Single(queue.Read());
        Assert.Equal((_device, 0x1234000ul, true), (seen.Device, seen.Address, seen.Write));
        queue.Answer(seen, mapped: true);
        Assert.Throws<NativeException>(() => queue.Answer(seen, mapped: true));   // once
        BinaryPrimitives.WriteUInt32LittleEndian(replace, _ioas);
        Command(MockDomainReplace, _mock, replace);
    }

    [Fact]
    public void SetOption_LockedMemoryPerProcess_IsForAnEmptyDescriptorOnly()
    {
        using var fresh = new IommufdContext(null, null);
        Assert.Equal(0ul, Iommufd.GetOption(fresh.Fd, Iommufd.IOMMU_OPTION_RLIMIT_MODE, 0));
        Iommufd.SetOption(fresh.Fd, Iommufd.IOMMU_OPTION_RLIMIT_MODE, 0, 1);
        Assert.Equal(1ul, Iommufd.GetOption(fresh.Fd, Iommufd.IOMMU_OPTION_RLIMIT_MODE, 0));
        Assert.Equal(Errno.EBUSY, Assert.Throws<NativeException>(() =>
            Iommufd.SetOption(Fd, Iommufd.IOMMU_OPTION_RLIMIT_MODE, 0, 1)).Errno);
    }

    [Fact]
    public void Copy_OfMemoryThatGrewInTwoPieces_IsOneMapping()
    {
        uint second = Iommufd.AllocIoas(Fd), third = Iommufd.AllocIoas(Fd);
        nuint half = MemoryBytes / 2, first = (nuint)_memory;
        // the first address space has it in one piece, so it can be had in two, and in one again from those
        Assert.Equal(IommufdMapping.Copied, _context.Map(second, new(first, half, new(1 << 20))));
        Assert.Equal(IommufdMapping.Copied, _context.Map(second, new(first + half, half, new((1 << 20) + half))));
        _context.Unmap(_ioas, new(first, MemoryBytes, new(Aperture)));
        Assert.Equal(IommufdMapping.Copied, _context.Map(third, new(first, MemoryBytes, new(4096))));
    }

    private int[] Read(IommufdPageTable table, bool clear)
    {
        ulong[] bits = new ulong[MemoryBytes / PageBytes / 64];
        table.ReadDirty(Aperture, MemoryBytes, PageBytes, bits, clear);
        return [.. Enumerable.Range(0, bits.Length * 64).Where(i => (bits[i / 64] >> (i % 64) & 1) != 0)];
    }

    private void Write(IommufdPageTable table, int[] pages)
    {
        ulong* bits = stackalloc ulong[(int)(MemoryBytes / MockPageBytes / 64)];
        new Span<ulong>(bits, (int)(MemoryBytes / MockPageBytes / 64)).Clear();
        foreach (int page in pages)
            bits[page * 2 / 64] |= 1UL << (page * 2 % 64);
        Span<byte> dirty = stackalloc byte[48];
        dirty.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(dirty[8..], Aperture);
        BinaryPrimitives.WriteUInt64LittleEndian(dirty[16..], MemoryBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(dirty[24..], MockPageBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(dirty[32..], (ulong)bits);
        Span<byte> answer = Command(Dirty, table.Id, dirty);
        Assert.Equal((ulong)pages.Length, BinaryPrimitives.ReadUInt64LittleEndian(answer[40..]));
    }

    // struct iommu_test_cmd: size, op, id, reserved, then what the op takes and gives; 72 bytes.
    private byte[] Command(uint operation, uint id, ReadOnlySpan<byte> arguments = default)
    {
        byte[] command = new byte[72];
        BinaryPrimitives.WriteInt32LittleEndian(command, command.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(4), operation);
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(8), id);
        arguments.CopyTo(command.AsSpan(16));
        fixed (byte* pointer = command)
            Ioctl.Call(Fd, TestCommand, pointer, $"IOMMU_TEST_CMD {operation}");
        return command[16..];
    }
}
