using Dataplane.Native;
using Microsoft.Extensions.Logging;

namespace Dataplane.Pmd;

/// <summary>The connection. Everything here runs under the gate.</summary>
internal sealed unsafe partial class MemifPort
{
    private const int MessagesPerCall = 16;   // then other ports' messages get their turn

    /// <summary>Whether a channel is the port's.</summary>
    internal bool Owns(MemifChannel channel) => _link?.Channel == channel;

    /// <summary>A message to end a connection with.</summary>
    internal static MemifMessage MakeDisconnect(string reason)
    {
        var message = new MemifMessage { Type = MemifMessageType.Disconnect };
        MemifChannel.PutText(message.Reason, MemifProtocol.ReasonBytes, reason);
        return message;
    }

    /// <summary>Takes what the other end says.</summary>
    internal void OnReadable(MemifChannel channel)
    {
        for (int i = 0; i < MessagesPerCall && _link is { } link && link.Channel == channel; i++)
        {
            MemifReceived received = channel.Receive(out MemifMessage message);
            if (received == MemifReceived.Nothing)
                return;
            if (received == MemifReceived.Closed || message.Type == MemifMessageType.Disconnect)
            {
                LoseLink(received == MemifReceived.Closed ? "it closed the connection"
                    : "it says: " + MemifChannel.GetText(message.Reason, MemifProtocol.ReasonBytes));
                return;
            }
            string? fault = received == MemifReceived.Malformed ? "Invalid message size"
                : Options.IsServer ? OnClientMessage(link, message) : OnServerMessage(link, message);
            if (fault != null)
                Refuse(fault);
        }
    }

    private static string? Sent(bool sent) => sent ? null : "Cannot send";

    // Fills in the queues' rings, and lets them flow.
    private void RaiseLink(MemifLink link, MemifRing?[] rx, MemifRing?[] tx)
    {
        for (int i = 0; i < RxQueues.Count; i++)
            if (rx[i] is { } ring)
                ((MemifRxQueue)RxQueues[i]).Attach(ring);
        for (int i = 0; i < TxQueues.Count; i++)
            if (tx[i] is { } ring)
                ((MemifTxQueue)TxQueues[i]).Attach(ring);
        link.IsUp = true;
        _connections++;
        LogConnected(_log, Name, link.PeerName, link.Channel.Describe());
        _gate.TellLater(this);
    }

    /// <summary>The other end broke the rules.</summary>
    private void Refuse(string fault)
    {
        _faults++;
        LogFault(_log, Name, fault);
        EndLink(fault);
        RetryLater();
    }

    /// <summary>The other end is gone, or wants to be.</summary>
    private void LoseLink(string how)
    {
        if (_link is { IsUp: true })
            LogLost(_log, Name, how);
        else
            LogRefused(_log, Name, how);
        EndLink(null);
        RetryLater();
    }

    /// <summary>Takes the rings from the queues and ends the connection.</summary>
    /// <param name="reason">What the other end is told, or null where there is none to tell.</param>
    private void EndLink(string? reason)
    {
        if (_link is not { } link)
            return;
        foreach (RxQueue queue in RxQueues)
            ((MemifRxQueue)queue).Detach();
        foreach (TxQueue queue in TxQueues)
            ((MemifTxQueue)queue).Detach();
        Volatile.Write(ref _link, null);   // last: who sees the link down can send nothing any more
        if (reason != null)
            link.Channel.TrySend(MakeDisconnect(reason));
        _gate.DisposeLater(link);
        if (!link.IsUp)
            return;
        _gate.TellLater(this);
        if (link.Age >= LastedMs)
            _retryMs = FirstRetryMs;
    }

    private void OnTrouble()
    {
        Eventfd.Drain(_trouble);
        if (_link == null)
            return;
        bool broken = false;
        foreach (RxQueue queue in RxQueues)
            broken |= ((MemifRxQueue)queue).IsBroken;
        foreach (TxQueue queue in TxQueues)
            broken |= ((MemifTxQueue)queue).IsBroken;
        if (broken)
            Refuse("Ring is corrupt");
    }

    [LoggerMessage(LogLevel.Information, "port {Port}: connected with '{Peer}', {Process}")]
    private static partial void LogConnected(ILogger logger, string port, string peer, string process);

    [LoggerMessage(LogLevel.Warning, "port {Port}: the other end broke the rules of memif and is "
        + "disconnected: {Fault}")]
    private static partial void LogFault(ILogger logger, string port, string fault);

    [LoggerMessage(LogLevel.Information, "port {Port}: the other end is gone: {How}")]
    private static partial void LogLost(ILogger logger, string port, string how);

    [LoggerMessage(LogLevel.Debug, "port {Port}: no connection: {How}")]
    private static partial void LogRefused(ILogger logger, string port, string how);
}
