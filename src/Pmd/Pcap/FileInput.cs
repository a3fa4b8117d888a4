using System.Runtime.InteropServices;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// A file read in large pieces, seen through a window of native memory. Not mapped: a mapped file that somebody makes
/// shorter kills the process.
/// </summary>
internal sealed unsafe class FileInput : IDisposable
{
    /// <summary>Most bytes that can be had in one piece.</summary>
    internal const int WindowBytes = 512 << 10;

    private readonly SafeFileHandle _file;
    private byte* _window;
    private long _windowAt;
    private int _at, _end;

    internal FileInput(SafeFileHandle file)
    {
        _file = file;
        _window = (byte*)NativeMemory.AlignedAlloc(WindowBytes, 4096);
    }

    /// <summary>The next byte. Moves when <see cref="Has"/> is called.</summary>
    internal byte* Current => _window + _at;

    /// <summary>Where in the file that is.</summary>
    internal long Offset => _windowAt + _at;

    /// <summary>Bytes at hand.</summary>
    internal uint Available => (uint)(_end - _at);

    /// <summary>Why the last read failed; <see cref="Errno.None"/> at the end of the file.</summary>
    internal Errno Error { get; private set; }

    /// <summary>Has the next bytes at hand in one piece, at most <see cref="WindowBytes"/>. Data path.</summary>
    /// <returns>False where the file has fewer.</returns>
    internal bool Has(uint bytes) => Available >= bytes || Fill(bytes);

    /// <summary>Goes on by bytes that are at hand. Data path.</summary>
    internal void Take(uint bytes) => _at += (int)bytes;

    /// <summary>Goes back to the start of a file that has one.</summary>
    internal void Rewind()
    {
        if (Fcntl.lseek(_file, 0, Fcntl.SEEK_SET) < 0)
            return;
        _windowAt = 0;
        _at = _end = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_window);
        _window = null;
        _at = _end = 0;
        _file.Dispose();
    }

    private bool Fill(uint bytes)
    {
        if (_window == null || bytes > WindowBytes)
            return false;
        if (_at + bytes > WindowBytes || _at == _end)
        {
            Buffer.MemoryCopy(Current, _window, WindowBytes, Available);
            _windowAt += _at;
            (_at, _end) = (0, _end - _at);
        }
        while (Available < bytes)
        {
            nint got = Unistd.read(_file, _window + _end, (nuint)(WindowBytes - _end));
            if (got > 0)
                _end += (int)got;
            else if (got == 0 || (Errno)Marshal.GetLastPInvokeError() != Errno.EINTR)
            {
                Error = got == 0 ? Errno.None : (Errno)Marshal.GetLastPInvokeError();
                return false;
            }
        }
        return true;
    }
}
