using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// Reads a pcap or pcapng file of either byte order. What the file says of lengths is believed only as far as there are
/// bytes; the first thing that makes no sense ends it.
/// </summary>
internal sealed unsafe partial class PcapReader : PacketSource
{
    private readonly FileInput _input;
    private readonly bool _follow;
    private PcapFormat _format;
    private bool _swap;
    private bool _nanoseconds;
    private bool _any;
    private bool _spoilt;   // what was opened well is no such file any more

    private PcapReader(SafeFileHandle file, bool follow)
    {
        _input = new FileInput(file);
        _follow = follow;
    }

    /// <summary>Where in the file it is, bytes.</summary>
    internal long Offset => _input.Offset;

    /// <summary>What ended the file, if it was not its end.</summary>
    internal PcapFault Fault { get; private set; }

    /// <summary>Where <see cref="Fault"/> is.</summary>
    internal long FaultOffset { get; private set; }

    /// <inheritdoc/>
    internal override bool IsOpenEnded => _follow;

    /// <summary>Opens a file and looks at its start, up to the first packet.</summary>
    /// <param name="device">The port's name, for messages.</param>
    /// <param name="path">The file.</param>
    /// <param name="follow">Packets may be added while it is read.</param>
    /// <exception cref="ConfigException">It is no capture of Ethernet frames, or spoilt at its start.</exception>
    /// <exception cref="DeviceException">ENOENT, EACCES: it cannot be opened.</exception>
    internal static PcapReader Open(string device, string path, bool follow = false)
    {
        // O_NONBLOCK: a FIFO must not hold up the caller until somebody writes to it.
        const int Flags = Fcntl.O_RDONLY | Fcntl.O_CLOEXEC | Fcntl.O_NONBLOCK;
        SafeFileHandle file = Fcntl.open(path, Flags, 0);
        if (file.IsInvalid)
        {
            NativeException reason = NativeException.FromErrno("open");
            throw new DeviceException($"device '{device}': cannot open '{path}' for reading", errno: reason.Errno);
        }
        var reader = new PcapReader(file, follow);
        PcapRecord record = default;
        if (reader.Begin() && reader.Next(ref record) == ReadStatus.Foreign)
            reader.Fail(PcapFault.LinkType);
        if (reader.Fault != PcapFault.None)
        {
            reader.Dispose();
            throw PcapFaults.Error(device, path, reader.FaultOffset, reader.Fault);
        }
        reader.Rewind();
        return reader;
    }

    /// <inheritdoc/>
    internal override ReadStatus Next(ref PcapRecord record)
    {
        if (Fault != PcapFault.None)
        {
            (bool spoilt, _spoilt) = (_spoilt, false);
            return spoilt ? ReadStatus.Bad : ReadStatus.End;
        }
        ReadStatus status = _format == PcapFormat.Pcap ? NextRecord(ref record) : NextPacketBlock(ref record);
        if (status == ReadStatus.Packet)
        {
            record.IsFirst = !_any;
            _any = true;
        }
        return status;
    }

    /// <inheritdoc/>
    /// <remarks>A file that is being followed goes on where it was.</remarks>
    internal override void Rewind()
    {
        if (_follow && _any && Fault == PcapFault.None)
            return;
        _input.Rewind();
        _any = false;
        _spoilt = !Begin();
    }

    /// <inheritdoc/>
    public override void Dispose() => _input.Dispose();

    /// <summary>Reads the file's header.</summary>
    private bool Begin()
    {
        Fault = PcapFault.None;
        _blockLeft = 0;
        _interfaceCount = 0;
        if (!_input.Has(4))
            return Refuse(_input.Error != Errno.None ? PcapFault.Unreadable : PcapFault.NoMagic);
        uint magic = *(uint*)_input.Current;
        _format = magic == PcapWire.SectionHeader ? PcapFormat.PcapNg : PcapFormat.Pcap;
        bool begun = _format == PcapFormat.PcapNg ? BeginSection() : BeginPcap(magic);
        return begun || (Fault == PcapFault.None && Refuse(PcapFault.Truncated));
    }

    // draft-ietf-opsawg-pcap §4
    private bool BeginPcap(uint magic)
    {
        uint swapped = BinaryPrimitives.ReverseEndianness(magic);
        _swap = swapped is PcapWire.MagicMicroseconds or PcapWire.MagicNanoseconds;
        uint known = _swap ? swapped : magic;
        _nanoseconds = known == PcapWire.MagicNanoseconds;
        PcapFault fault = known is not (PcapWire.MagicMicroseconds or PcapWire.MagicNanoseconds)
                ? ((ushort)magic == 0x8b1f ? PcapFault.Compressed : PcapFault.NoMagic)
            : !_input.Has(PcapWire.FileHeaderBytes) ? PcapFault.Truncated
            : U16(_input.Current + 4) != PcapWire.Major || U16(_input.Current + 6) != PcapWire.Minor ? PcapFault.Version
            : (ushort)U32(_input.Current + 20) != PcapWire.Ethernet ? PcapFault.LinkType
            : PcapFault.None;
        if (fault != PcapFault.None)
            return Refuse(fault);
        _input.Take(PcapWire.FileHeaderBytes);
        return true;
    }

    // draft-ietf-opsawg-pcap §5
    private ReadStatus NextRecord(ref PcapRecord record)
    {
        if (!_input.Has(PcapWire.RecordHeaderBytes))
            return Ended();
        uint length = U32(_input.Current + 8);
        if (length > PcapWire.MaxCaptureBytes)
            return Fail(PcapFault.RecordTooLong);
        if (!_input.Has(PcapWire.RecordHeaderBytes + length))
            return Ended();
        byte* header = _input.Current;
        ulong fraction = U32(header + 4);
        record.Nanoseconds = U32(header) * 1_000_000_000ul + (_nanoseconds ? fraction : fraction * 1000);
        record.Length = length;
        record.OriginalLength = U32(header + 12);
        record.Data = header + PcapWire.RecordHeaderBytes;
        _input.Take(PcapWire.RecordHeaderBytes + length);
        return ReadStatus.Packet;
    }

    /// <summary>There are fewer bytes than were wanted.</summary>
    private ReadStatus Ended()
    {
        if (_input.Error is not (Errno.None or Errno.EAGAIN))
            return Fail(PcapFault.Unreadable);
        return _follow || (_input.Available == 0 && _blockLeft == 0) ? ReadStatus.End : Fail(PcapFault.Truncated);
    }

    private ReadStatus Fail(PcapFault fault)
    {
        Fault = fault;
        FaultOffset = _input.Offset;
        return ReadStatus.Bad;
    }

    private bool Refuse(PcapFault fault)
    {
        Fail(fault);
        return false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private uint U32(byte* at) => _swap ? BinaryPrimitives.ReverseEndianness(*(uint*)at) : *(uint*)at;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ushort U16(byte* at) => _swap ? BinaryPrimitives.ReverseEndianness(*(ushort*)at) : *(ushort*)at;
}
