using System.Runtime.InteropServices;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>A server's socket, shared by the ports behind it, which their ids tell apart. Control path.</summary>
internal sealed unsafe class MemifListener : IDisposable
{
    // Those who connected and have not said for which port. One that says nothing makes room for later ones.
    private const int MaxWaiting = 32;

    private readonly Eal _eal;
    private readonly UnixSocket _socket;
    private readonly IDisposable _registration;
    private readonly List<MemifPort> _ports = [];
    private readonly List<MemifChannel> _waiting = [];

    private MemifListener(MemifPort port, MemifOptions options)
    {
        _eal = port.Eal;
        Name = options.Socket;
        _socket = UnixSocket.ListenFor(port.Name, options.Socket, Socket.SOCK_SEQPACKET);
        try
        {
            if ((options.OwnerUid ?? options.OwnerGid) != null && Unistd.chown(options.Socket,
                options.OwnerUid ?? uint.MaxValue, options.OwnerGid ?? uint.MaxValue) != 0)
                throw new DeviceException($"device '{port.Name}': cannot give {options.Socket} another owner",
                    "that needs CAP_CHOWN, or a group one is in oneself", "leave out owner-uid and owner-gid",
                    errno: (Errno)Marshal.GetLastPInvokeError());
            _registration = _eal.Interrupts.Register(_socket.Handle, () => Gate.Run(Accept));
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>The lock of all ports here.</summary>
    internal MemifGate Gate { get; } = new();

    internal string Name { get; }

    /// <summary>Adds a port, to the listener of another port with the same socket if there is one.</summary>
    /// <exception cref="ConfigException">The id is another port's.</exception>
    /// <exception cref="DeviceException">Nobody can listen there.</exception>
    internal static MemifListener Join(MemifPort port, MemifOptions options, PortList? ports)
    {
        MemifListener? listener = ports?.Ports.OfType<MemifPort>().Select(other => other.Listener)
            .FirstOrDefault(known => known?.Name == options.Socket);
        if (listener?._ports.Find(other => other.Options.Id == options.Id) is { } twin)
            throw new ConfigException($"device '{port.Name}': id={options.Id} of socket {options.Socket} is "
                + $"{twin.Name}'s", fix: "give each its own id, or another socket");
        listener ??= new MemifListener(port, options);
        listener.Gate.Run(() => listener._ports.Add(port));
        return listener;
    }

    /// <summary>Takes a port out; with the last one the socket goes.</summary>
    internal void Leave(MemifPort port)
    {
        Gate.Run(() => _ports.Remove(port));
        if (_ports.Count == 0)
            Dispose();
    }

    public void Dispose()
    {
        _registration.Dispose();
        Gate.Run(() =>
        {
            foreach (MemifChannel channel in _waiting)
                Gate.DisposeLater(channel);
            _waiting.Clear();
        });
        _socket.Dispose();
    }

    private void Accept()
    {
        for (int i = 0; i < MaxWaiting && _socket.Accept() is { } socket; i++)
        {
            var channel = new MemifChannel(_eal.Interrupts, socket, one => Gate.Run(() => OnReadable(one)))
            {
                Promised = Limits,
            };
            if (!channel.TrySend(MakeHello()))
            {
                Gate.DisposeLater(channel);
                continue;
            }
            _waiting.Add(channel);
            if (_waiting.Count > MaxWaiting)
            {
                Gate.DisposeLater(_waiting[0]);
                _waiting.RemoveAt(0);
            }
        }
    }

    private void OnReadable(MemifChannel channel)
    {
        if (_ports.Find(port => port.Owns(channel)) is { } owner)
            owner.OnReadable(channel);
        else if (_waiting.Contains(channel))
            OnFirstMessage(channel);
    }

    private void OnFirstMessage(MemifChannel channel)
    {
        MemifReceived received = channel.Receive(out MemifMessage message);
        if (received == MemifReceived.Nothing)
            return;
        _waiting.Remove(channel);
        string? refusal = received switch
        {
            MemifReceived.Closed => "",
            MemifReceived.Malformed => "Invalid message size",
            _ => message.Type != MemifMessageType.Init ? "Unexpected message"
                : message.Version != MemifProtocol.Version ? "Incompatible memif version"
                : _ports.Find(port => port.Options.Id == message.InterfaceId) is not { } port ? "ID not found"
                : channel.Promised != Limits ? "Configuration changed"
                : port.Admit(channel, message),
        };
        channel.CloseFiles();
        if (refusal == null)
            return;
        if (refusal.Length > 0)
            channel.TrySend(MemifPort.MakeDisconnect(refusal));
        Gate.DisposeLater(channel);
    }

    // What the ports offer that can be connected to; all there can be while none can.
    private (int Rx, int Tx) Limits
    {
        get
        {
            MemifPort[] started = [.. _ports.Where(port => port.IsStarted)];
            return started.Length == 0 ? (Port.MaxQueues, Port.MaxQueues)
                : (started.Max(port => port.RxQueues.Count), started.Max(port => port.TxQueues.Count));
        }
    }

    // The client has not said whom it wants, so this says what any port here can do; AddRing is held against the port.
    private MemifMessage MakeHello()
    {
        (int rx, int tx) = Limits;
        var hello = new MemifMessage
        {
            Type = MemifMessageType.Hello,
            MinVersion = MemifProtocol.Version,
            MaxVersion = MemifProtocol.Version,
            MaxRegion = MemifProtocol.MaxRegions - 1,
            MaxClientToServerRing = (ushort)Math.Max(rx - 1, 0),
            MaxServerToClientRing = (ushort)Math.Max(tx - 1, 0),
            MaxLog2RingSize = MemifProtocol.MaxLog2RingSize,
        };
        MemifChannel.PutText(hello.HelloName, MemifProtocol.NameBytes, MemifPort.ProgramName);
        return hello;
    }
}
