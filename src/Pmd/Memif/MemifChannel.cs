using System.Text;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>What came over a channel.</summary>
internal enum MemifReceived
{
    /// <summary>Nothing yet.</summary>
    Nothing,
    /// <summary>A message, and the files with it.</summary>
    Message,
    /// <summary>No message: of another size.</summary>
    Malformed,
    /// <summary>The other end is gone.</summary>
    Closed,
}

/// <summary>
/// A control channel: messages of one size over SOCK_SEQPACKET, read on the interrupt thread. Control path.
/// </summary>
internal sealed unsafe class MemifChannel : IDisposable
{
    private readonly UnixSocket _socket;
    private readonly IDisposable _registration;

    /// <summary>Owns the socket, also when it throws.</summary>
    /// <param name="interrupts">Whose thread calls.</param>
    /// <param name="socket">Connected.</param>
    /// <param name="onReadable">Called with the channel when there is something to receive.</param>
    internal MemifChannel(Interrupts interrupts, UnixSocket socket, Action<MemifChannel> onReadable)
    {
        _socket = socket;
        try
        {
            _registration = interrupts.Register(socket.Handle, () => onReadable(this));
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The files of the last message; those left in it are closed with the next.</summary>
    internal List<SafeFileHandle> Files { get; } = [];

    /// <summary>A server's: the queues its greeting offered.</summary>
    internal (int Rx, int Tx) Promised { get; init; }

    /// <summary>The process at the other end, for a person to read.</summary>
    internal string Describe()
    {
        ucred peer = _socket.Peer;
        return $"process {peer.pid} of user {peer.uid}";
    }

    /// <summary>Sends a message, with a file or none.</summary>
    /// <returns>False: it cannot be sent, and the connection is of no use any more.</returns>
    internal bool TrySend(in MemifMessage message, SafeFileHandle? file = null) =>
        TrySend(message, file == null ? -1 : Socket.Fd(file));

    /// <summary>The same with a file by its number.</summary>
    internal bool TrySend(in MemifMessage message, int file)
    {
        fixed (MemifMessage* bytes = &message)
        {
            var span = new ReadOnlySpan<byte>(bytes, sizeof(MemifMessage));
            try
            {
                return (file < 0 ? _socket.Send(span) : _socket.Send(span, file)) == span.Length;
            }
            catch (NativeException)
            {
                return false;   // the other end is gone, or the file cannot be sent
            }
        }
    }

    /// <summary>Takes the next message.</summary>
    internal MemifReceived Receive(out MemifMessage message)
    {
        CloseFiles();
        Span<byte> bytes = stackalloc byte[MemifProtocol.MessageBytes + 1];
        message = default;
        try
        {
            int count = _socket.Receive(bytes, Files);
            if (count == MemifProtocol.MessageBytes)
            {
                fixed (byte* first = bytes)
                    message = *(MemifMessage*)first;
                return MemifReceived.Message;
            }
            return count < 0 ? MemifReceived.Nothing : count == 0 ? MemifReceived.Closed : MemifReceived.Malformed;
        }
        catch (NativeException e)
        {
            return e.Errno == Errno.EMFILE ? MemifReceived.Malformed : MemifReceived.Closed;
        }
    }

    /// <summary>Closes the files nobody took.</summary>
    internal void CloseFiles()
    {
        foreach (SafeFileHandle file in Files)
            file.Dispose();
        Files.Clear();
    }

    /// <summary>Waits for its callback, so not under a lock that one takes.</summary>
    public void Dispose()
    {
        _registration.Dispose();
        CloseFiles();
        _socket.Dispose();
    }

    /// <summary>Writes text into a field of a message, cut off so that a zero follows.</summary>
    internal static void PutText(byte* field, int bytes, string text)
    {
        Span<byte> room = new(field, bytes);
        room.Clear();
        foreach (char c in text.AsSpan(0, Math.Min(text.Length, bytes - 1)))
            *field++ = char.IsAscii(c) && !char.IsControl(c) ? (byte)c : (byte)'?';
    }

    /// <summary>Reads text of a stranger's: up to a zero or the field's end, and only what can be shown.</summary>
    internal static string GetText(byte* field, int bytes)
    {
        var text = new StringBuilder();
        for (int i = 0; i < bytes && field[i] != 0; i++)
            text.Append(field[i] is >= 0x20 and < 0x7f ? (char)field[i] : '?');
        return text.ToString();
    }
}
