using System.Text;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane;

/// <summary>What is said to a client: one message, and files with it, which stay the sayer's.</summary>
internal readonly record struct LocalAnswer(byte[] Bytes, params SafeFileHandle[] Files);

/// <summary>What one socket in the runtime directory speaks: a message in, a message out. All of it is called on the
/// server's thread.</summary>
/// <param name="socket">Where it listens; the server's.</param>
internal abstract class LocalService(TelemetrySocket socket)
{
    internal TelemetrySocket Socket => socket;

    /// <summary>Longer messages are cut off there.</summary>
    internal abstract int MaxRequestBytes { get; }

    /// <summary>What a client hears first, or null.</summary>
    internal virtual LocalAnswer? Greeting => null;

    /// <summary>Whether who connected may.</summary>
    internal virtual bool IsWelcome(UnixSocket client) => true;

    /// <summary>What one who is not served hears before the connection ends; null: nothing.</summary>
    internal virtual LocalAnswer? Refusal(Errno error, string why) => null;

    /// <summary>Answers one message, whatever it is. Never throws.</summary>
    internal abstract LocalAnswer Answer(LocalClient client, ReadOnlySpan<byte> request);
}

/// <summary>One who is connected.</summary>
internal sealed class LocalClient(ulong id, LocalService service, UnixSocket socket) : IDisposable
{
    private readonly List<IDisposable> _owned = [];

    internal ulong Id => id;

    internal LocalService Service => service;

    internal UnixSocket Socket => socket;

    /// <summary>The answer it has no room for yet.</summary>
    internal LocalAnswer? Unsent { get; set; }

    /// <summary>Something that ends when this client goes, however it goes.</summary>
    internal void Own(IDisposable thing) => _owned.Add(thing);

    /// <summary>As <see cref="UnixSocket.Send"/>, but all or nothing: these sockets keep messages whole.</summary>
    /// <exception cref="NativeException">EBADF: another thread closed the files; or the client is gone.</exception>
    internal int Send(LocalAnswer answer)
    {
        int held = 0;
        try
        {
            foreach (SafeFileHandle file in answer.Files)
            {
                bool isHeld = false;
                file.DangerousAddRef(ref isHeld);
                held++;
            }
            return socket.Send(answer.Bytes, [.. answer.Files.Select(Native.Socket.Fd)]);
        }
        catch (ObjectDisposedException)
        {
            throw new NativeException("sending files", Errno.EBADF, "they were closed meanwhile");
        }
        finally
        {
            foreach (SafeFileHandle file in answer.Files.AsSpan(0, held))
                file.DangerousRelease();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        socket.Dispose();
        foreach (IDisposable thing in _owned)
            thing.Dispose();
        _owned.Clear();
    }
}

/// <summary>DPDK's telemetry protocol, version 2: a greeting, then commands and JSON.</summary>
internal sealed class TelemetryService(Telemetry telemetry, TelemetrySocket socket) : LocalService(socket)
{
    /// <inheritdoc/>
    internal override int MaxRequestBytes => 1023;

    /// <inheritdoc/>
    internal override LocalAnswer? Greeting => new(Encoding.ASCII.GetBytes(Telemetry.Greeting));

    /// <inheritdoc/>
    internal override LocalAnswer Answer(LocalClient client, ReadOnlySpan<byte> request) =>
        new(Encoding.ASCII.GetBytes(telemetry.Answer(request)));
}
