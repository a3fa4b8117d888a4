using System.Buffers.Binary;

namespace Dataplane;

public abstract partial class PciFunction
{
    // PCI Local Bus 3.0 §6.1: the status register and its capabilities bit; §6.7: the list. PCI Express Base 4.0 §7.6.
    private const int Status = 0x06, CapabilitiesBit = 0x10, CapabilitiesPointer = 0x34;
    private const int HeaderBytes = 0x40, ConventionalBytes = 0x100, ExpressBytes = 0x1000;

    /// <summary>A byte of configuration space.</summary>
    /// <inheritdoc cref="ReadConfig(int, Span{byte})"/>
    public byte ReadConfig8(int offset)
    {
        Span<byte> bytes = stackalloc byte[1];
        ReadConfig(offset, bytes);
        return bytes[0];
    }

    /// <summary>Two bytes of configuration space.</summary>
    /// <inheritdoc cref="ReadConfig(int, Span{byte})"/>
    public ushort ReadConfig16(int offset)
    {
        Span<byte> bytes = stackalloc byte[2];
        ReadConfig(offset, bytes);
        return BinaryPrimitives.ReadUInt16LittleEndian(bytes);
    }

    /// <summary>Four bytes of configuration space.</summary>
    /// <inheritdoc cref="ReadConfig(int, Span{byte})"/>
    public uint ReadConfig32(int offset)
    {
        Span<byte> bytes = stackalloc byte[4];
        ReadConfig(offset, bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    /// <summary>
    /// Where a capability starts. A list that leads in a circle or out of its space ends there.
    /// </summary>
    /// <param name="id">Its number, e.g. 0x09 for one of the vendor's own.</param>
    /// <param name="after">0 for the first; what was returned last for the next of the same kind.</param>
    /// <returns>Bytes from the start of configuration space, or 0 where there is none.</returns>
    /// <exception cref="DataplaneException">The function does not answer.</exception>
    public int FindCapability(byte id, int after = 0)
    {
        ushort status = ReadConfig16(Status);
        if (status == ushort.MaxValue || (status & CapabilitiesBit) == 0)
            return 0;
        bool found = after == 0;
        Span<bool> seen = stackalloc bool[ConventionalBytes / 4];
        int place = ReadConfig8(CapabilitiesPointer) & ~3;
        while (place >= HeaderBytes && !seen[place / 4])
        {
            seen[place / 4] = true;
            ushort header = ReadConfig16(place);
            if (header == ushort.MaxValue)
                return 0;
            if (found && (byte)header == id)
                return place;
            found |= place == after;
            place = header >> 8 & ~3;
        }
        return 0;
    }

    /// <summary>
    /// Where an extended capability starts. A list that leads in a circle or out of its space ends there.
    /// </summary>
    /// <param name="id">Its number, e.g. 0x10 for SR-IOV.</param>
    /// <param name="after">0 for the first; what was returned last for the next of the same kind.</param>
    /// <returns>Bytes from the start of configuration space; 0 where there is none, as on a function of conventional
    /// PCI, or one whose extended space the machine does not let through.</returns>
    public int FindExtendedCapability(ushort id, int after = 0)
    {
        bool found = after == 0;
        Span<bool> seen = stackalloc bool[ExpressBytes / 4];
        int place = ConventionalBytes;
        while (place >= ConventionalBytes && !seen[place / 4])
        {
            seen[place / 4] = true;
            uint header;
            try
            {
                header = ReadConfig32(place);
            }
            catch (DataplaneException)
            {
                return 0;   // no such bytes
            }
            if (header is 0 or uint.MaxValue)
                return 0;
            if (found && (ushort)header == id)
                return place;
            found |= place == after;
            place = (int)(header >> 20) & ~3;
        }
        return 0;
    }
}
