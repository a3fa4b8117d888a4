using System.Buffers.Binary;

namespace Dataplane.Pmd;

/// <summary>NVM, and the semaphores that keep firmware and driver apart.</summary>
internal sealed partial class IntelDevice
{
    private const int NvmTimeoutUs = 100_000, SemaphoreTimeoutUs = 500_000;

    /// <summary>Bytes of NVM, as the device reports it in EECD.</summary>
    internal int NvmBytes
    {
        get
        {
            int code = (int)(Registers.Read(IntelRegs.Eecd) >> IntelRegs.EecdSizeShift & 0xf);
            return 2 << Math.Min(code + 6, 14);
        }
    }

    /// <summary>Version of the image in the NVM.</summary>
    internal string NvmVersion
    {
        get
        {
            ushort word = ReadNvm(5);
            return $"{word >> 12}.{word >> 4 & 0xff:x2}.{word & 0xf:x}";
        }
    }

    /// <summary>Reads a word by EERD.</summary>
    /// <exception cref="DeviceException">It does not come.</exception>
    internal ushort ReadNvm(int word)
    {
        Registers.Write(IntelRegs.Eerd, (uint)word << IntelRegs.EerdAddressShift | IntelRegs.EerdStart);
        if (!TryWait(IntelRegs.Eerd, IntelRegs.EerdDone, IntelRegs.EerdDone, NvmTimeoutUs))
            throw new DeviceException($"device '{name}': word 0x{word:x} of its NVM cannot be read",
                why: $"register EERD (0x{IntelRegs.Eerd.Offset:x}) was not done after {NvmTimeoutUs} us");
        return (ushort)(Registers.Read(IntelRegs.Eerd) >> IntelRegs.EerdDataShift);
    }

    /// <summary>Reads bytes, an even number from an even place.</summary>
    internal void ReadNvm(int offset, Span<byte> bytes)
    {
        for (int i = 0; i < bytes.Length; i += 2)
            BinaryPrimitives.WriteUInt16LittleEndian(bytes[i..], ReadNvm((offset + i) / 2));
    }

    /// <summary>Takes a resource that firmware and the other port use too: SWSM, then SW_FW_SYNC.</summary>
    /// <param name="bit">Its bit in SW_FW_SYNC.</param>
    /// <exception cref="DeviceException">It is not to be had.</exception>
    internal void Acquire(uint bit)
    {
        uint both = bit | bit << IntelRegs.SyncFirmwareShift;
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        while (true)
        {
            TakeSemaphore();
            uint owners = Registers.Read(IntelRegs.SwFwSync);
            if ((owners & both) == 0)
            {
                Registers.Write(IntelRegs.SwFwSync, owners | bit);
                GiveSemaphore();
                return;
            }
            if (System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalMicroseconds > SemaphoreTimeoutUs)
            {
                // Who held it for so long is dead: software that was killed, or firmware that hangs.
                Registers.Write(IntelRegs.SwFwSync, owners & ~both | bit);
                GiveSemaphore();
                return;
            }
            GiveSemaphore();
            Thread.Yield();
        }
    }

    /// <summary>Gives it back.</summary>
    internal void Give(uint bit)
    {
        TakeSemaphore();
        Registers.Write(IntelRegs.SwFwSync, Registers.Read(IntelRegs.SwFwSync) & ~bit);
        GiveSemaphore();
    }

    private void TakeSemaphore()
    {
        // Reading 0 means it is ours; one that stays taken was left by a driver that was killed.
        TryWait(IntelRegs.Swsm, IntelRegs.SwsmTaken, 0, 50_000);
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        do
        {
            Registers.SetBits(IntelRegs.Swsm, IntelRegs.SwsmFirmware);
            if ((Registers.Read(IntelRegs.Swsm) & IntelRegs.SwsmFirmware) != 0)
                return;
            Thread.Yield();
        } while (System.Diagnostics.Stopwatch.GetElapsedTime(start).TotalMicroseconds < SemaphoreTimeoutUs);
        GiveSemaphore();
        throw new DeviceException($"device '{name}': firmware does not give up its semaphore",
            why: $"SWSM.SWESMBI could not be set in {SemaphoreTimeoutUs} us", fix: "a cold start resets firmware");
    }

    private void GiveSemaphore() =>
        Registers.ClearBits(IntelRegs.Swsm, IntelRegs.SwsmTaken | IntelRegs.SwsmFirmware);
}
