namespace Dataplane.Tests;

/// <summary>Both ends of a memif in one process; which end sends, and how, is the derived classes'.</summary>
public abstract class MemifDriverContract(string sender, string receiver) : DriverContract
{
    private readonly string _socket = $"dp-memif-{Guid.NewGuid():N}";

    protected override IReadOnlyList<string> Devices =>
        [$"net_memif0,socket={_socket},{sender}", $"net_memif1,socket={_socket},{receiver}"];

    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_memif0,role=boss", "net_memif1,id=-1", "net_memif2,rsize=15", "net_memif3,rsize=0", "net_memif4,bsize=0",
        "net_memif5,bsize=65536", "net_memif6,zero-copy=1", "net_memif7,role=server,zero-copy=yes",
        "net_memif8,socket=", "net_memif9,secret=123456789012345678901234", "net_memif10,mac=01:00:5e:00:00:01",
        "net_memif11,role=server,owner-uid=0", "net_memif12,trust=yes", "net_memif13,soket=x",
        "net_memif14,role=server,socket=/none/such/place,socket-abstract=no",
        $"net_memif15,role=server,socket={new string('x', 107)}",
    ];

    // The connection is made by control threads, and made again when an end was stopped.
    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(100);
}

public sealed class MemifToServerContract() : MemifDriverContract("role=client", "role=server");

public sealed class MemifToClientContract() : MemifDriverContract("role=server", "role=client");

public sealed class MemifSharedToServerContract()
    : MemifDriverContract("role=client,zero-copy=yes,rsize=8", "role=server,trust=yes");

public sealed class MemifSharedToClientContract()
    : MemifDriverContract("role=server,trust=yes", "role=client,zero-copy=yes,rsize=8");

/// <summary>Buffers so small that every frame takes several.</summary>
public sealed class MemifSmallBuffersContract() : MemifDriverContract("role=client,bsize=100", "role=server");
