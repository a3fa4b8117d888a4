using System.Diagnostics;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>The control virtqueue: one command at a time, waited for. VIRTIO 1.2 §5.1.6.5. Control path.</summary>
internal sealed unsafe class VirtioControlQueue(string name, VirtioTransport transport, Virtqueue queue, byte* buffer,
    ulong bufferIova)
{
    /// <summary>Bytes of the buffer a command and its answer lie in.</summary>
    internal const int BufferBytes = 8192;

    private const int TimeoutMs = 10_000, HeaderBytes = 2;

    /// <summary>The queue.</summary>
    internal Virtqueue Queue => queue;

    /// <summary>Has the device do something.</summary>
    /// <param name="what">For the message, e.g. "set promiscuous mode".</param>
    /// <param name="group">VIRTIO_NET_CTRL_*.</param>
    /// <param name="command">Of that group.</param>
    /// <param name="data">What goes with it.</param>
    /// <exception cref="DeviceException">It refuses, or does not answer in time.</exception>
    internal void Send(string what, byte group, byte command, ReadOnlySpan<byte> data)
    {
        if (!TrySend(what, group, command, data))
            throw Failed(what, "it refused (VIRTIO 1.2 §5.1.6.5)");
    }

    /// <summary>The same where a refusal is an answer too.</summary>
    /// <returns>False when it refused.</returns>
    /// <exception cref="DeviceException">It does not answer in time.</exception>
    internal bool TrySend(string what, byte group, byte command, ReadOnlySpan<byte> data)
    {
        if (data.Length + HeaderBytes + 1 > BufferBytes)
            throw new ConfigException($"port {name}: cannot {what}", 
                why: $"it takes {data.Length} bytes, more than fit into a command");
        if (queue.InFlightCount != 0)      // it may still read what would be overwritten here
            throw Failed(what, "its control queue is stuck with a command that was not answered");
        buffer[0] = group;
        buffer[1] = command;
        data.CopyTo(new Span<byte>(buffer + HeaderBytes, data.Length));
        uint length = (uint)(HeaderBytes + data.Length);
        buffer[length] = byte.MaxValue;
        ReadOnlySpan<VirtioPart> parts = [new(bufferIova, length), new(bufferIova + length, 1)];
        if (!queue.TryAddChain(parts, writable: 1, cookie: 1))
            throw Failed(what, "its control queue has no room for a command");
        queue.Publish();
        if (queue.ShouldNotify())
            transport.Notify(queue);
        Span<nint> cookie = stackalloc nint[1];
        Span<uint> written = stackalloc uint[1];
        long start = Stopwatch.GetTimestamp();
        while (queue.Take(cookie, written) == 0)
        {
            if (queue.Fault != VirtqueueFault.None)
                throw Failed(what, $"it broke the rules of its control queue: {queue.Fault}");
            if (Stopwatch.GetElapsedTime(start).TotalMilliseconds > TimeoutMs)
                throw Failed(what, $"it did not answer in {TimeoutMs / 1000} s");
            Thread.Yield();
        }
        return Volatile.Read(ref buffer[length]) == VirtioNet.VIRTIO_NET_OK;
    }

    private DeviceException Failed(string what, string why) => new($"port {name}: the device does not {what}", why);
}
