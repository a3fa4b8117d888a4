using System.Numerics;
using Dataplane.Native;

namespace Dataplane.Pmd;

/// <summary>A client: connects, makes the memory, says where things are. Under the gate but where said
/// otherwise.</summary>
internal sealed unsafe partial class MemifPort
{
    private const int FirstRetryMs = 10, LastRetryMs = 1000;

    // Milliseconds: a server that does not go on is given up; a connection that lasted was a good one.
    private const int PatienceMs = 5000, LastedMs = 2000;

    private int _retryMs = FirstRetryMs;

    private void BeginConnecting()
    {
        _retryMs = FirstRetryMs;
        Connect();
    }

    private void RetryLater()
    {
        if (CanConnect)
            Eal.Alarms.Set(TimeSpan.FromMilliseconds(_retryMs), () => _gate.Run(Connect));
        _retryMs = Math.Min(_retryMs * 2, LastRetryMs);
    }

    // An alarm that comes when all has changed since finds nothing to do.
    private bool CanConnect => !Options.IsServer && _started && _linkWanted && _link == null;

    private void Connect()
    {
        if (!CanConnect)
            return;
        UnixSocket socket;
        try
        {
            socket = UnixSocket.Connect(Options.Socket, Socket.SOCK_SEQPACKET);
        }
        catch (NativeException e)
        {
            LogRefused(_log, Name, e.Message);
            RetryLater();
            return;
        }
        var link = new MemifLink(new MemifChannel(Eal.Interrupts, socket, one => _gate.Run(() => OnReadable(one))));
        Volatile.Write(ref _link, link);
        Eal.Alarms.Set(TimeSpan.FromMilliseconds(PatienceMs), () => _gate.Run(() => GiveUp(link)));
    }

    private void GiveUp(MemifLink link)
    {
        if (_link != link || link.IsUp)
            return;
        EndLink("Too slow");
        RetryLater();
    }

    private string? OnServerMessage(MemifLink link, in MemifMessage message)
    {
        switch (message.Type)
        {
            case MemifMessageType.Hello when link.Memory.Count == 0:
                return OnHello(link, message);
            case MemifMessageType.Ack when link.Steps.TryDequeue(out (MemifMessage Message, int File) step):
                return Sent(link.Channel.TrySend(step.Message, step.File));
            case MemifMessageType.Connected when link is { IsUp: false, Steps.Count: 0, Memory.Count: > 0 }:
                RaiseLink(link, link.ToClient, link.ToServer);
                return null;
            default:
                return "Unexpected message";
        }
    }

    private string? OnHello(MemifLink link, in MemifMessage hello)
    {
        if (hello.MinVersion > MemifProtocol.Version || hello.MaxVersion < MemifProtocol.Version)
            return "Incompatible memif version";
        fixed (byte* name = hello.HelloName)
            link.PeerName = MemifChannel.GetText(name, MemifProtocol.NameBytes);
        int toServer = Math.Min(TxQueues.Count, hello.MaxClientToServerRing + 1);
        int toClient = Math.Min(RxQueues.Count, hello.MaxServerToClientRing + 1);
        try
        {
            MakeMemory(link, toServer, toClient, hello.MaxLog2RingSize);
        }
        catch (NativeException e)
        {
            return $"No memory: {e.Errno}";
        }
        if (link.Memory.Count - 1 > hello.MaxRegion)
            return "Too many regions for the server";
        for (int i = 0; i < link.Memory.Count; i++)
            link.Steps.Enqueue((new MemifMessage
            {
                Type = MemifMessageType.AddRegion,
                RegionIndex = (ushort)i,
                RegionSize = link.Memory.Table[i].Bytes,
            }, link.Memory.FileOf(i)));
        AddRings(link, link.ToServer, MemifProtocol.RingFlagClientToServer);
        AddRings(link, link.ToClient, 0);
        var connect = new MemifMessage { Type = MemifMessageType.Connect };
        MemifChannel.PutText(connect.InterfaceName, MemifProtocol.NameBytes, Name);
        link.Steps.Enqueue((connect, -1));
        return Sent(link.Channel.TrySend(MakeInit()));
    }

    private static void AddRings(MemifLink link, MemifRing?[] rings, ushort flags)
    {
        for (int i = 0; i < rings.Length && rings[i] is { } ring; i++)
            link.Steps.Enqueue((new MemifMessage
            {
                Type = MemifMessageType.AddRing,
                RingFlags = flags,
                RingIndex = (ushort)i,
                RingOffset = (uint)((byte*)ring.Header - link.Memory.Table[0].Address),
                Log2RingSize = (byte)BitOperations.Log2(ring.Size),
            }, Socket.Fd(ring.Signal)));
    }

    private MemifMessage MakeInit()
    {
        var init = new MemifMessage
        {
            Type = MemifMessageType.Init,
            Version = MemifProtocol.Version,
            InterfaceId = Options.Id,
            Mode = MemifProtocol.ModeEthernet,
        };
        MemifChannel.PutText(init.InitName, MemifProtocol.NameBytes, ProgramName);
        Options.Secret.CopyTo(new Span<byte>(init.Secret, MemifProtocol.SecretBytes));
        return init;
    }

    // One region of our own: the rings, then the buffers of each. With zero-copy the buffers are for what lies outside
    // the memory that is shared, and take no memory until they are used.
    private void MakeMemory(MemifLink link, int toServer, int toClient, int mostLog2)
    {
        List<(bool ToServer, int Index, int Log2)> list = ListRings(toServer, toClient, mostLog2);
        ulong stride = Stride(Options.BufferBytes), ringBytes = 0, at = 0;
        foreach ((_, _, int log2) in list)
            ringBytes += RingBytes(log2);
        ulong buffersAt = ringBytes + 4095 & ~4095ul;
        link.Memory.AddOwn(buffersAt + BufferBytes(list), populate: !Options.ZeroCopy);
        if (Options.ZeroCopy)
            link.Memory.AddShared(Eal.Memory);
        byte* start = link.Memory.Table[0].Address;
        foreach ((bool isToServer, int index, int log2) in list)
        {
            var ring = new MemifRing(link.Memory, start + at, log2, link.Own(Eventfd.Create()))
            {
                Buffers = start + buffersAt,
                BuffersOffset = (uint)buffersAt,
                Stride = (uint)stride,
                BufferBytes = (uint)Options.BufferBytes,
                IsShared = Options.ZeroCopy,
            };
            ring.Initialize();
            (isToServer ? link.ToServer : link.ToClient)[index] = ring;
            at += RingBytes(log2);
            buffersAt += stride << log2;
        }
    }

    private List<(bool ToServer, int Index, int Log2)> ListRings(int toServer, int toClient, int mostLog2)
    {
        var list = new List<(bool, int, int)>();
        for (int i = 0; i < toServer; i++)
            list.Add((true, i, Math.Min(BitOperations.Log2((uint)TxQueues[i].Config.Descriptors), mostLog2)));
        for (int i = 0; i < toClient; i++)
            list.Add((false, i, Math.Min(BitOperations.Log2((uint)RxQueues[i].Config.Descriptors), mostLog2)));
        return list;
    }

    // Not under the gate. Offsets have 32 bits.
    private void CheckClientMemory()
    {
        List<(bool ToServer, int Index, int Log2)> list = ListRings(TxQueues.Count, RxQueues.Count,
            MemifProtocol.MaxLog2RingSize);
        ulong bytes = BufferBytes(list);
        foreach ((_, _, int log2) in list)
            bytes += RingBytes(log2);
        if (bytes + 4096 > MemifMemory.MaxRegionBytes)
            throw new ConfigException($"port {Name}: its rings and buffers take {bytes >> 20} MiB",
                why: "memif reaches 4 GiB", fix: "use fewer queues, fewer descriptors or a smaller bsize=");
    }

    private ulong BufferBytes(List<(bool ToServer, int Index, int Log2)> list)
    {
        ulong bytes = 0;
        foreach ((_, _, int log2) in list)
            bytes += Stride(Options.BufferBytes) << log2;
        return bytes;
    }

    private static ulong RingBytes(int log2) => MemifRing.BytesOf(log2) + 127 & ~127ul;

    // An odd number of cache lines: buffers of a power of two would all fall into the same few sets of a cache.
    private static ulong Stride(int bufferBytes)
    {
        ulong lines = ((ulong)bufferBytes + 63) / 64;
        return (lines | 1) * 64;
    }
}
