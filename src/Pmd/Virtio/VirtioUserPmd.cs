using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The <c>net_virtio_user</c> driver: a virtio network device whose other side is a vhost-user back end in
/// another process.</summary>
public sealed class VirtioUserPmd : PortDriver
{
    /// <inheritdoc/>
    public override string Name => "net_virtio_user";

    /// <inheritdoc/>
    public override string Help => VirtioUserOptions.Help;

    /// <inheritdoc/>
    public override Port Create(PortContext context)
    {
        VirtioUserOptions options = VirtioUserOptions.Parse(context);
        var transport = new VhostUserTransport(context, options);
        try
        {
            return new VirtioPort(context, options.Virtio, transport, driverName: Name);
        }
        catch
        {
            transport.Dispose();
            throw;
        }
    }
}

/// <summary>The arguments of a virtio-user port, named as DPDK's.</summary>
/// <param name="Path">The Unix socket.</param>
/// <param name="Mac">The port's own address.</param>
/// <param name="Queues">Queue pairs at most.</param>
/// <param name="QueueSize">Descriptors of a queue at most.</param>
/// <param name="Server">Listens; else connects.</param>
/// <param name="Merge">Merged receive buffers may be agreed on.</param>
/// <param name="Virtio">What else may be.</param>
internal sealed record VirtioUserOptions(string Path, MacAddress Mac, int Queues, int QueueSize, bool Server,
    bool Merge, VirtioOptions Virtio)
{
    internal const string Help = "path=PATH (needed) Unix socket, mac=ADDRESS, queues=N (1), queue_size=N (1024), "
        + "server=0|1 (0) listen in place of connecting, mrg_rxbuf=0|1 (1), in_order=0|1 (1), packed_vq=0|1 (0), "
        + "event_idx=0|1 (1), indirect=0|1 (1), speed=MBIT/S";

    internal static VirtioUserOptions Parse(PortContext context)
    {
        DevArgs args = context.Args;
        string path = args.GetString("path") ?? throw new ConfigException($"device '{args.Name}' needs path=PATH",
            fix: $"write --vdev={args.Name},path=/run/vhost.sock");
        MacAddress mac = MacAddress.Local(0x75_0000u + context.Id);
        if (args.GetString("mac") is { } text && (!MacAddress.TryParse(text, out mac) || mac.IsMulticast))
            throw new ConfigException($"device '{args.Name}': mac={text} is no unicast address");
        var virtio = new VirtioOptions(args.GetFlag("packed_vq"), args.GetFlag("in_order", true),
            args.GetFlag("event_idx", true), args.GetFlag("indirect", true),
            (uint)args.GetNumber("speed", 0, 0, int.MaxValue));
        var options = new VirtioUserOptions(path, mac, (int)args.GetNumber("queues", 1, 1, Port.MaxQueues),
            (int)args.GetNumber("queue_size", 1024, 32, 32768), args.GetFlag("server"),
            args.GetFlag("mrg_rxbuf", true), virtio);
        args.ThrowIfUnused();
        return (options.QueueSize & (options.QueueSize - 1)) == 0 ? options : throw new ConfigException(
            $"device '{args.Name}': queue_size={options.QueueSize} is no power of two");
    }
}
