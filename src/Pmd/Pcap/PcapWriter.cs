using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// Writes a pcap or pcapng file in pieces of half a megabyte. What the file cannot take for now stays here, whole
/// records of it, so a file that goes on after its disk was full has no torn record. One thread at a time.
/// </summary>
internal sealed unsafe partial class PcapWriter : IDisposable
{
    private const int BufferBytes = 512 << 10;

    private readonly SafeFileHandle _file;
    private readonly PcapFormat _format;
    private readonly bool _nanoseconds;
    private readonly uint _snapLength;
    private byte* _buffer;
    private int _used;      // whole records from the buffer's start
    private int _written;   // bytes of the first of them that are in the file
    private long _fileBytes;

    private PcapWriter(SafeFileHandle file, PcapFormat format, bool nanoseconds, uint snapLength)
    {
        _file = file;
        _format = format;
        _nanoseconds = nanoseconds;
        _snapLength = snapLength;
        _buffer = (byte*)NativeMemory.AlignedAlloc(BufferBytes, 4096);
    }

    /// <summary>Why the last write stopped short; <see cref="Errno.EAGAIN"/> when a pipe's reader is behind.</summary>
    internal Errno Error { get; private set; }

    /// <summary>Some records are not in the file yet.</summary>
    internal bool IsDirty => _used != 0;

    /// <summary>Makes the file, or empties it, and writes its header.</summary>
    /// <param name="device">The port's name, for messages and in the file.</param>
    /// <param name="path">The file.</param>
    /// <param name="options">Format, unit of the stamps, most bytes of a packet to keep.</param>
    /// <exception cref="DeviceException">EACCES, ENOENT, ENOSPC, ...: it cannot be written.</exception>
    internal static PcapWriter Create(string device, string path, PcapOptions options)
    {
        // O_APPEND: Cut shortens the file, and what is written then must not leave a hole.
        const int Flags = Fcntl.O_WRONLY | Fcntl.O_CREAT | Fcntl.O_TRUNC | Fcntl.O_APPEND | Fcntl.O_CLOEXEC
            | Fcntl.O_NONBLOCK;
        SafeFileHandle file = Fcntl.open(path, Flags, 0x1a4);   // rw-r--r--
        if (file.IsInvalid)
            throw Refused(device, path, (Errno)Marshal.GetLastPInvokeError());
        var writer = new PcapWriter(file, options.Format, options.Nanoseconds, (uint)options.SnapLength);
        writer.PutHeader(device);
        if (writer.WriteHeader())
            return writer;
        Errno reason = writer.Error;
        writer.Dispose();
        throw Refused(device, path, reason);
    }

    /// <summary>Makes a record of a packet and says where its bytes go. Data path.</summary>
    /// <param name="length">Bytes of the packet.</param>
    /// <param name="nanoseconds">Its stamp, since 1970.</param>
    /// <param name="captured">Bytes to be put there.</param>
    /// <returns>Null when there is no room, for the reason in <see cref="Error"/>.</returns>
    internal byte* Add(uint length, ulong nanoseconds, out uint captured)
    {
        captured = Math.Min(length, _snapLength);
        int bytes = _format == PcapFormat.Pcap ? PcapWire.RecordHeaderBytes + (int)captured
            : PcapWire.EnhancedHeaderBytes + ((int)captured + 3 & ~3) + PcapWire.BlockTrailerBytes;
        if (bytes > BufferBytes - _used && !Flush() && bytes > BufferBytes - _used)
            return null;
        byte* record = _buffer + _used;
        _used += bytes;
        return _format == PcapFormat.Pcap
            ? PutRecord(record, captured, length, nanoseconds)
            : PutBlock(record, (uint)bytes, captured, length, nanoseconds);
    }

    /// <summary>Hands all records to the kernel. Data path.</summary>
    /// <returns>False when some had to stay, for the reason in <see cref="Error"/>.</returns>
    internal bool Flush()
    {
        while (_used != 0)
        {
            nint done = Unistd.write(_file, _buffer + _written, (nuint)(_used - _written));
            if (done < 0)
            {
                Error = (Errno)Marshal.GetLastPInvokeError();
                if (Error == Errno.EINTR)
                    continue;
                return false;
            }
            _fileBytes += (long)done;
            _written += (int)done;
            DropWritten();
        }
        Error = Errno.None;
        return true;
    }

    /// <summary>Gives up the records that are not in the file and takes a torn one out of it. Control path.</summary>
    /// <returns>How many were given up.</returns>
    internal int Cut()
    {
        int records = 0;
        for (int at = 0; at < _used; records++)
            at += RecordBytes(at);
        if (_written != 0 && Fcntl.ftruncate(_file, _fileBytes - _written) == 0)
            _fileBytes -= _written;
        _used = _written = 0;
        return records;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_buffer);
        _buffer = null;
        _file.Dispose();
    }

    private void DropWritten()
    {
        int whole = 0;
        if (_written == _used)
            whole = _used;
        else
            for (int next; (next = whole + RecordBytes(whole)) <= _written;)
                whole = next;
        Buffer.MemoryCopy(_buffer + whole, _buffer, BufferBytes, _used - whole);
        _used -= whole;
        _written -= whole;
    }

    private int RecordBytes(int at) => _format == PcapFormat.Pcap
        ? PcapWire.RecordHeaderBytes + *(int*)(_buffer + at + 8)
        : *(int*)(_buffer + at + 4);

    // draft-ietf-opsawg-pcap §5
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* PutRecord(byte* record, uint captured, uint length, ulong nanoseconds)
    {
        ulong seconds = nanoseconds / 1_000_000_000;
        var rest = (uint)(nanoseconds - seconds * 1_000_000_000);
        var fields = (uint*)record;
        fields[0] = (uint)seconds;
        fields[1] = _nanoseconds ? rest : rest / 1000;
        fields[2] = captured;
        fields[3] = length;
        return record + PcapWire.RecordHeaderBytes;
    }

    // draft-ietf-opsawg-pcapng §4.3
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* PutBlock(byte* block, uint bytes, uint captured, uint length, ulong nanoseconds)
    {
        ulong ticks = _nanoseconds ? nanoseconds : nanoseconds / 1000;
        var fields = (uint*)block;
        *(uint*)(block + bytes - 8) = 0;   // the padding, before the data overwrites what is none
        *(uint*)(block + bytes - 4) = bytes;
        fields[0] = PcapWire.EnhancedPacket;
        fields[1] = bytes;
        fields[2] = 0;
        fields[3] = (uint)(ticks >> 32);
        fields[4] = (uint)ticks;
        fields[5] = captured;
        fields[6] = length;
        return block + PcapWire.EnhancedHeaderBytes;
    }

    private bool WriteHeader()
    {
        nint done = Unistd.write(_file, _buffer, (nuint)_used);
        Error = done < 0 ? (Errno)Marshal.GetLastPInvokeError() : done < _used ? Errno.ENOSPC : Errno.None;
        _fileBytes = _used;
        _used = 0;
        return Error == Errno.None;
    }

    private void PutHeader(string device)
    {
        if (_format == PcapFormat.Pcap)
        {
            // draft-ietf-opsawg-pcap §4
            Put32(_nanoseconds ? PcapWire.MagicNanoseconds : PcapWire.MagicMicroseconds);
            Put32(PcapWire.Major | (uint)PcapWire.Minor << 16, 0, 0, _snapLength, PcapWire.Ethernet);
            return;
        }
        // draft-ietf-opsawg-pcapng §4.1: version 1.0, a section of a length not known yet
        Put32(PcapWire.SectionHeader, 28, PcapWire.ByteOrderMagic, 1, uint.MaxValue, uint.MaxValue, 28);
        // §4.2: the name, the resolution, the end of options
        byte[] name = Encoding.UTF8.GetBytes(device);
        int padded = name.Length + 3 & ~3;
        var bytes = (uint)(16 + 4 + padded + 8 + 4 + 4);
        Put32(PcapWire.InterfaceDescription, bytes, PcapWire.Ethernet, _snapLength);
        Put32(PcapWire.InterfaceName | (uint)name.Length << 16);
        for (int i = 0; i < padded; i++)
            _buffer[_used++] = i < name.Length ? name[i] : (byte)0;
        Put32(PcapWire.TimestampResolution | 1u << 16);
        Put32(_nanoseconds ? 9u : 6u, PcapWire.EndOfOptions, bytes);
    }

    private void Put32(params ReadOnlySpan<uint> words)
    {
        foreach (uint word in words)
        {
            *(uint*)(_buffer + _used) = word;
            _used += 4;
        }
    }

    private static DeviceException Refused(string device, string path, Errno reason) =>
        new($"device '{device}': cannot write '{path}'", errno: reason, fix: reason switch
        {
            Errno.ENXIO => "start the program that reads the pipe first",
            Errno.ENOSPC or Errno.EDQUOT => "free some space there",
            Errno.ENOENT => "make the folder first",
            _ => null,
        });
}
