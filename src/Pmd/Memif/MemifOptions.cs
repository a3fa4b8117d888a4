using System.Text;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>The arguments of a memif port: DPDK's, and <c>trust</c>.</summary>
internal sealed record MemifOptions
{
    internal const string Help = "role=client|server (client), id=N (0), socket=PATH (/run/memif.sock), "
        + "socket-abstract=yes|no (yes), owner-uid=N, owner-gid=N of a server's socket file, secret=TEXT, "
        + "bsize=BYTES (2048) and rsize=LOG2 (10) of a client's buffers and rings, zero-copy=yes|no (no) for a client, "
        + "trust=yes|no (no) a server takes memory that can be cut short, mac=ADDRESS";

    // DPDK cuts a secret off after 23 bytes, so one of 24 would not match itself.
    private const int MaxSecretBytes = MemifProtocol.SecretBytes - 1;

    /// <summary>Listens, and is given the memory by the client.</summary>
    internal required bool IsServer { get; init; }

    /// <summary>Which of the interfaces behind a socket.</summary>
    internal required uint Id { get; init; }

    /// <summary>The socket as <c>UnixSocket</c> takes it: a path, or a name after an @.</summary>
    internal required string Socket { get; init; }

    /// <summary>Owner of the socket's file, null: as it is.</summary>
    internal required uint? OwnerUid { get; init; }

    /// <summary>Group of the socket's file, null: as it is.</summary>
    internal required uint? OwnerGid { get; init; }

    /// <summary>Bytes of a client's buffers.</summary>
    internal required int BufferBytes { get; init; }

    /// <summary>Descriptors of a client's rings, as a power of two.</summary>
    internal required int Log2RingSize { get; init; }

    /// <summary>The port's address, null: one by chance.</summary>
    internal required MacAddress? Mac { get; init; }

    /// <summary>Descriptors of a client point at its mbufs.</summary>
    internal required bool ZeroCopy { get; init; }

    /// <summary>Bytes both sides must have alike; empty: none.</summary>
    internal required byte[] Secret { get; init; }

    /// <summary>Memory is taken that the client could cut short, which would kill this process.</summary>
    internal required bool Trust { get; init; }

    /// <summary>Reads and checks the arguments.</summary>
    /// <exception cref="ConfigException">An unknown or impossible one.</exception>
    internal static MemifOptions Parse(DevArgs args)
    {
        string path = args.GetString("socket", "/run/memif.sock")!;
        bool isAbstract = YesOrNo(args, "socket-abstract", true);
        var options = new MemifOptions
        {
            IsServer = args.GetString("role", "client") switch
            {
                "server" or "master" => true,
                "client" or "slave" => false,
                var other => throw new ConfigException($"device '{args.Name}': role={other} is unknown",
                    fix: "write role=server or role=client"),
            },
            Id = (uint)args.GetNumber("id", 0, 0, uint.MaxValue),
            Socket = isAbstract ? "@" + path : path,
            OwnerUid = Owner(args, "owner-uid"),
            OwnerGid = Owner(args, "owner-gid"),
            BufferBytes = (int)args.GetNumber("bsize", 2048, 64, ushort.MaxValue),
            Log2RingSize = (int)args.GetNumber("rsize", 10, 1, MemifProtocol.MaxLog2RingSize),
            Mac = ParseMac(args),
            ZeroCopy = YesOrNo(args, "zero-copy", false),
            Secret = Encoding.UTF8.GetBytes(args.GetString("secret", "")!),
            Trust = YesOrNo(args, "trust", false),
        };
        args.ThrowIfUnused();
        options.Check(args.Name, path, isAbstract);
        return options;
    }

    private void Check(string device, string path, bool isAbstract)
    {
        if (path.Length == 0 || Encoding.UTF8.GetByteCount(Socket) > 107)
            throw new ConfigException($"device '{device}': socket={path} cannot be a socket's name",
                why: "the kernel takes 1 to 107 bytes (unix(7))", fix: "choose a shorter one");
        if (!isAbstract && path[0] == '@')
            throw new ConfigException($"device '{device}': socket={path} is no path", fix: "write ./@... for a file");
        if (Secret.Length > MaxSecretBytes || Secret.Contains((byte)0))
            throw new ConfigException($"device '{device}': its secret cannot be used",
                why: $"it has {Secret.Length} bytes, and peers compare {MaxSecretBytes}", fix: "choose a shorter one");
        if ((OwnerUid ?? OwnerGid) != null && (isAbstract || !IsServer))
            throw new ConfigException($"device '{device}': there is no socket file to own",
                why: IsServer ? "an abstract socket has none" : "the server makes it",
                fix: IsServer ? "add socket-abstract=no" : "give owner-uid and owner-gid to the server");
        if (ZeroCopy && IsServer)
            throw new ConfigException($"device '{device}': a server cannot have zero-copy=yes",
                why: "the memory is the client's", fix: "give zero-copy=yes to the client");
        if (Trust && !IsServer)
            throw new ConfigException($"device '{device}': trust=yes is for a server",
                why: "a client maps no memory of the other end");
    }

    private static bool YesOrNo(DevArgs args, string key, bool fallback) => args.GetString(key) switch
    {
        null => fallback,
        "yes" => true,
        "no" => false,
        var other => throw new ConfigException($"device '{args.Name}': {key}={other} is neither yes nor no"),
    };

    private static uint? Owner(DevArgs args, string key)
    {
        long id = args.GetNumber(key, -1, 0, uint.MaxValue - 1);
        return id < 0 ? null : (uint)id;
    }

    private static MacAddress? ParseMac(DevArgs args)
    {
        string? text = args.GetString("mac");
        if (text == null)
            return null;
        return MacAddress.TryParse(text, out MacAddress mac) && !mac.IsMulticast && mac.Value != 0 ? mac
            : throw new ConfigException($"device '{args.Name}': mac={text} is no unicast address",
                fix: "write mac=02:00:00:00:00:01");
    }
}
