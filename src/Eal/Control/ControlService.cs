using Dataplane.Native;

namespace Dataplane;

/// <summary>The control socket: who may use it, and <see cref="Control"/> behind it.</summary>
internal sealed class ControlService(Control control, TelemetrySocket socket) : LocalService(socket)
{
    /// <summary>Its file in the runtime directory.</summary>
    internal const string FileName = "dataplane_control.v1";

    /// <inheritdoc/>
    internal override int MaxRequestBytes => ControlHeader.MaxBytes;

    /// <inheritdoc/>
    /// <remarks>The file's mode and its directory's say so already; they can be changed.</remarks>
    internal override bool IsWelcome(UnixSocket client) => client.Peer.uid is 0 || client.Peer.uid == Unistd.geteuid();

    /// <inheritdoc/>
    internal override LocalAnswer? Refusal(Errno error, string why) => Control.Refuse(ControlType.None, error, why);

    /// <inheritdoc/>
    internal override LocalAnswer Answer(LocalClient client, ReadOnlySpan<byte> request) =>
        control.Answer(client, request);
}
