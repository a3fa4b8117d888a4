using System.Buffers.Binary;

namespace Dataplane.Pmd;

/// <summary>The blocks of pcapng. draft-ietf-opsawg-pcapng §3, §4.</summary>
internal sealed unsafe partial class PcapReader
{
    /// <summary>Bytes of a block of which options are read; what is behind is passed over.</summary>
    private const uint OptionBytes = 64 << 10;

    private readonly InterfaceFacts[] _interfaces = new InterfaceFacts[PcapWire.MaxInterfaces];
    private int _interfaceCount;
    private uint _blockTotal, _blockLeft;

    private struct InterfaceFacts
    {
        internal bool IsEthernet;
        internal uint SnapLength;
        internal byte Resolution;
        internal long OffsetSeconds;
    }

    private ReadStatus NextPacketBlock(ref PcapRecord record)
    {
        while (true)
        {
            if (_blockLeft != 0 && !EndBlock(out ReadStatus ended))
                return ended;
            if (!_input.Has(PcapWire.EmptyBlockBytes))
                return Ended();
            if (*(uint*)_input.Current == PcapWire.SectionHeader)
            {
                if (!BeginSection())
                    return Fault != PcapFault.None ? ReadStatus.Bad : ReadStatus.End;
                continue;
            }
            uint type = U32(_input.Current), total = U32(_input.Current + 4);
            if (total < PcapWire.EmptyBlockBytes || total % 4 != 0)
                return Fail(PcapFault.BlockLength);
            switch (type)
            {
                case PcapWire.InterfaceDescription:
                    if (AddInterface(total) is var added && added != ReadStatus.Packet)
                        return added;
                    break;
                case PcapWire.EnhancedPacket:
                case PcapWire.ObsoletePacket:
                    return ReadEnhanced(ref record, type, total);
                case PcapWire.SimplePacket:
                    return ReadSimple(ref record, total);
                default:
                    Consume(total, 8);
                    break;
            }
        }
    }

    /// <summary>§4.1. A section begins with its own byte order and no interfaces.</summary>
    private bool BeginSection()
    {
        const int Least = 28;
        if (!_input.Has(Least))
        {
            Ended();
            return false;
        }
        byte* block = _input.Current;
        uint mark = *(uint*)(block + 8);
        bool swap = mark == BinaryPrimitives.ReverseEndianness(PcapWire.ByteOrderMagic);
        if (!swap && mark != PcapWire.ByteOrderMagic)
            return Refuse(PcapFault.ByteOrder);
        _swap = swap;
        uint total = U32(block + 4);
        if (total < Least || total % 4 != 0)
            return Refuse(PcapFault.BlockLength);
        if (U16(block + 12) != 1)
            return Refuse(PcapFault.Version);
        _interfaceCount = 0;
        Consume(total, Least - PcapWire.BlockTrailerBytes);
        return true;
    }

    /// <summary>§4.2.</summary>
    /// <returns><see cref="ReadStatus.Packet"/> when it is done.</returns>
    private ReadStatus AddInterface(uint total)
    {
        const int Fixed = 16;
        if (total < Fixed + PcapWire.BlockTrailerBytes)
            return Fail(PcapFault.BlockLength);
        uint end = Math.Min(total - PcapWire.BlockTrailerBytes, OptionBytes);
        if (!_input.Has(end))
            return Ended();
        if (_interfaceCount == _interfaces.Length)
            return Fail(PcapFault.TooManyInterfaces);
        byte* block = _input.Current;
        var facts = new InterfaceFacts
        {
            IsEthernet = U16(block + 8) == PcapWire.Ethernet,
            SnapLength = U32(block + 12),
            Resolution = 6,
        };
        for (uint at = Fixed; at + 4 <= end;)
        {
            uint code = U16(block + at), length = U16(block + at + 2);
            if (code == PcapWire.EndOfOptions)
                break;
            if (length > end - at - 4)
            {
                if (end == OptionBytes)
                    break;
                return Fail(PcapFault.OptionLength);
            }
            if (code == PcapWire.TimestampResolution && length == 1)
                facts.Resolution = block[at + 4];
            if (code == PcapWire.TimestampOffset && length == 8)
                facts.OffsetSeconds = I64(block + at + 4);
            at += 4 + (length + 3 & ~3u);
        }
        _interfaces[_interfaceCount++] = facts;
        Consume(total, end);
        return ReadStatus.Packet;
    }

    /// <summary>§4.3; the obsolete packet block of appendix A differs only in a shorter interface number.</summary>
    private ReadStatus ReadEnhanced(ref PcapRecord record, uint type, uint total)
    {
        const uint Header = PcapWire.EnhancedHeaderBytes;
        if (total < Header + PcapWire.BlockTrailerBytes)
            return Fail(PcapFault.BlockLength);
        if (!_input.Has(Header))
            return Ended();
        uint length = U32(_input.Current + 20);
        if (length > total - Header - PcapWire.BlockTrailerBytes)
            return Fail(PcapFault.BlockLength);
        if (length > PcapWire.MaxCaptureBytes)
            return Fail(PcapFault.RecordTooLong);
        if (!_input.Has(Header + length))
            return Ended();
        byte* block = _input.Current;
        uint number = type == PcapWire.EnhancedPacket ? U32(block + 8) : U16(block + 8);
        if (number >= (uint)_interfaceCount)
            return Fail(PcapFault.UnknownInterface);
        ref InterfaceFacts facts = ref _interfaces[number];
        record.Nanoseconds = ToNanoseconds((ulong)U32(block + 12) << 32 | U32(block + 16), in facts);
        record.Length = length;
        record.OriginalLength = U32(block + 24);
        record.Data = block + Header;
        Consume(total, Header + length);
        return facts.IsEthernet ? ReadStatus.Packet : ReadStatus.Foreign;
    }

    /// <summary>§4.4: of the section's first interface, without a stamp, as long as its snap length allows.</summary>
    private ReadStatus ReadSimple(ref PcapRecord record, uint total)
    {
        const uint Header = 12;
        if (total < Header + PcapWire.BlockTrailerBytes)
            return Fail(PcapFault.BlockLength);
        if (_interfaceCount == 0)
            return Fail(PcapFault.UnknownInterface);
        uint original = U32(_input.Current + 8), snap = _interfaces[0].SnapLength;
        uint length = snap == 0 ? original : Math.Min(original, snap);
        if (length > total - Header - PcapWire.BlockTrailerBytes)
            return Fail(PcapFault.BlockLength);
        if (length > PcapWire.MaxCaptureBytes)
            return Fail(PcapFault.RecordTooLong);
        if (!_input.Has(Header + length))
            return Ended();
        record.Nanoseconds = 0;
        record.Length = length;
        record.OriginalLength = original;
        record.Data = _input.Current + Header;
        Consume(total, Header + length);
        return _interfaces[0].IsEthernet ? ReadStatus.Packet : ReadStatus.Foreign;
    }

    private void Consume(uint total, uint bytes)
    {
        _input.Take(bytes);
        _blockTotal = total;
        _blockLeft = total - bytes;
    }

    /// <summary>Passes over the rest of the block and checks the length at its end.</summary>
    private bool EndBlock(out ReadStatus status)
    {
        status = ReadStatus.Packet;
        while (_blockLeft > PcapWire.BlockTrailerBytes)
        {
            if (!_input.Has(1))
            {
                status = Ended();
                return false;
            }
            uint step = Math.Min(_blockLeft - PcapWire.BlockTrailerBytes, _input.Available);
            _input.Take(step);
            _blockLeft -= step;
        }
        if (!_input.Has(PcapWire.BlockTrailerBytes))
            status = Ended();
        else if (U32(_input.Current) != _blockTotal)
            status = Fail(PcapFault.TrailingLength);
        else
        {
            _input.Take(PcapWire.BlockTrailerBytes);
            _blockLeft = 0;
        }
        return status == ReadStatus.Packet;
    }

    /// <summary>§4.2, if_tsresol: powers of 10, or of 2 with the top bit set. Beyond 64 bits it wraps.</summary>
    private static ulong ToNanoseconds(ulong ticks, in InterfaceFacts facts)
    {
        int power = facts.Resolution & 0x7f;
        ulong nanoseconds;
        if ((facts.Resolution & 0x80) != 0)
            nanoseconds = (ulong)((UInt128)ticks * 1_000_000_000 >> power);
        else if (power <= 9)
            nanoseconds = ticks * PowerOfTen(9 - power);
        else
            nanoseconds = power <= 28 ? ticks / PowerOfTen(power - 9) : 0;
        return nanoseconds + (ulong)(facts.OffsetSeconds * 1_000_000_000);
    }

    private long I64(byte* at) => _swap ? BinaryPrimitives.ReverseEndianness(*(long*)at) : *(long*)at;

    private static ulong PowerOfTen(int power)
    {
        ulong value = 1;
        for (; power > 0; power--)
            value *= 10;
        return value;
    }
}
