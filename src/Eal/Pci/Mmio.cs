using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Dataplane;

/// <summary>A 32-bit register that reads and writes.</summary>
/// <param name="Offset">Bytes from the start of its block, a multiple of 4.</param>
public readonly record struct RwReg32(uint Offset);

/// <summary>A 32-bit register that is only read.</summary>
/// <param name="Offset">Bytes from the start of its block, a multiple of 4.</param>
public readonly record struct RoReg32(uint Offset);

/// <summary>A 32-bit register that is only written.</summary>
/// <param name="Offset">Bytes from the start of its block, a multiple of 4.</param>
public readonly record struct WoReg32(uint Offset);

/// <summary>A 32-bit register that is cleared when it is read.</summary>
/// <param name="Offset">Bytes from the start of its block, a multiple of 4.</param>
public readonly record struct RcReg32(uint Offset);

/// <summary>A 16-bit register that reads and writes.</summary>
/// <param name="Offset">Bytes from the start of its block, a multiple of 2.</param>
public readonly record struct RwReg16(uint Offset);

/// <summary>A 16-bit register that is only read.</summary>
/// <param name="Offset">Bytes from the start of its block, a multiple of 2.</param>
public readonly record struct RoReg16(uint Offset);

/// <summary>An 8-bit register that reads and writes.</summary>
/// <param name="Offset">Bytes from the start of its block.</param>
public readonly record struct RwReg8(uint Offset);

/// <summary>An 8-bit register that is only read.</summary>
/// <param name="Offset">Bytes from the start of its block.</param>
public readonly record struct RoReg8(uint Offset);

/// <summary>An 8-bit register that is cleared when it is read.</summary>
/// <param name="Offset">Bytes from the start of its block.</param>
public readonly record struct RcReg8(uint Offset);

/// <summary>
/// A block of device registers, mapped. Every access is a <see cref="Volatile"/> one of the register's width: a write
/// is seen by the device after all stores before it (the doorbell rule, docs/ordering.md). Data path.
/// </summary>
public readonly unsafe struct Mmio
{
    private readonly byte* _base;

    /// <summary>A block that is mapped already.</summary>
    /// <param name="address">First byte.</param>
    /// <param name="sizeBytes">Its length.</param>
    public Mmio(void* address, ulong sizeBytes)
    {
        _base = (byte*)address;
        SizeBytes = sizeBytes;
    }

    /// <summary>Length in bytes.</summary>
    public ulong SizeBytes { get; }

    /// <summary>There is a block.</summary>
    public bool IsMapped => _base != null;

    /// <summary>A part of the block.</summary>
    /// <param name="offset">Bytes from its start.</param>
    /// <param name="sizeBytes">Length.</param>
    /// <exception cref="DeviceException">It does not lie inside: the device says what it does not have.</exception>
    public Mmio Slice(ulong offset, ulong sizeBytes)
    {
        if (offset > SizeBytes || sizeBytes > SizeBytes - offset)
            throw new DeviceException($"registers at 0x{offset:x}, 0x{sizeBytes:x} bytes, lie outside their BAR",
                $"it has 0x{SizeBytes:x} bytes");
        return new(_base + offset, sizeBytes);
    }

    /// <summary>Reads a register.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Read(RwReg32 register) => Volatile.Read(ref *(uint*)At(register.Offset, 4));

    /// <inheritdoc cref="Read(RwReg32)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Read(RoReg32 register) => Volatile.Read(ref *(uint*)At(register.Offset, 4));

    /// <inheritdoc cref="Read(RwReg32)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Read(RcReg32 register) => Volatile.Read(ref *(uint*)At(register.Offset, 4));

    /// <inheritdoc cref="Read(RwReg32)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ushort Read(RwReg16 register) => Volatile.Read(ref *(ushort*)At(register.Offset, 2));

    /// <inheritdoc cref="Read(RwReg32)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ushort Read(RoReg16 register) => Volatile.Read(ref *(ushort*)At(register.Offset, 2));

    /// <inheritdoc cref="Read(RwReg32)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte Read(RwReg8 register) => Volatile.Read(ref *At(register.Offset, 1));

    /// <inheritdoc cref="Read(RwReg32)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte Read(RoReg8 register) => Volatile.Read(ref *At(register.Offset, 1));

    /// <inheritdoc cref="Read(RwReg32)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte Read(RcReg8 register) => Volatile.Read(ref *At(register.Offset, 1));

    /// <summary>Writes a register, after all stores before it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Write(RwReg32 register, uint value) => Volatile.Write(ref *(uint*)At(register.Offset, 4), value);

    /// <inheritdoc cref="Write(RwReg32, uint)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Write(WoReg32 register, uint value) => Volatile.Write(ref *(uint*)At(register.Offset, 4), value);

    /// <inheritdoc cref="Write(RwReg32, uint)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Write(RwReg16 register, ushort value) => Volatile.Write(ref *(ushort*)At(register.Offset, 2), value);

    /// <inheritdoc cref="Write(RwReg32, uint)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Write(RwReg8 register, byte value) => Volatile.Write(ref *At(register.Offset, 1), value);

    /// <summary>Sets the bits of a mask: read, then write. Control path.</summary>
    public void SetBits(RwReg32 register, uint mask) => Write(register, Read(register) | mask);

    /// <summary>Clears the bits of a mask: read, then write. Control path.</summary>
    public void ClearBits(RwReg32 register, uint mask) => Write(register, Read(register) & ~mask);

    /// <summary>Reads until the masked bits have a value. Control path.</summary>
    /// <param name="register">Which.</param>
    /// <param name="mask">The bits that count.</param>
    /// <param name="value">What they should be.</param>
    /// <param name="timeoutUs">Microseconds to wait at most.</param>
    /// <exception cref="DeviceException">They were not in time; names register, mask and last value.</exception>
    public void PollUntil(RwReg32 register, uint mask, uint value, int timeoutUs) =>
        PollUntil(new RoReg32(register.Offset), mask, value, timeoutUs);

    /// <inheritdoc cref="PollUntil(RwReg32, uint, uint, int)"/>
    public void PollUntil(RoReg32 register, uint mask, uint value, int timeoutUs)
    {
        long start = Stopwatch.GetTimestamp();
        for (uint last = Read(register); (last & mask) != value; last = Read(register))
        {
            if (Stopwatch.GetElapsedTime(start).TotalMicroseconds > timeoutUs)
                throw new DeviceException($"register 0x{register.Offset:x} did not become 0x{value:x}",
                    $"masked with 0x{mask:x} it was still 0x{last & mask:x} after {timeoutUs} us (read 0x{last:x})",
                    last == uint.MaxValue ? "all ones: the device is gone or powered down" : null);
            Thread.Yield();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* At(uint offset, uint width)
    {
        Debug.Assert(offset + width <= SizeBytes && offset % width == 0, "register outside its block");
        return _base + offset;
    }
}
