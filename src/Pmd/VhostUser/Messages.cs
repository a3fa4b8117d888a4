using System.Runtime.InteropServices;

namespace Dataplane.Pmd;

/// <summary>Names and numbers of the vhost-user protocol. QEMU, docs/interop/vhost-user.rst.</summary>
internal static class VhostUser
{
    /// <summary>Bits of a message's flags.</summary>
    internal const uint Version = 1, VersionMask = 3, Reply = 1 << 2, NeedReply = 1 << 3;

    /// <summary>Feature bit: protocol features can be negotiated, and rings begin disabled.</summary>
    internal const int ProtocolFeaturesBit = 30;

    /// <summary>Feature bit of old: header and data may share a descriptor. linux/virtio_config.h.</summary>
    internal const int AnyLayoutBit = 27;

    /// <summary>Protocol feature bits.</summary>
    internal const int MultiQueueBit = 0, ReplyAckBit = 3, MtuBit = 4, InflightBit = 12, ResetDeviceBit = 13,
        StatusBit = 16;

    /// <summary>Most regions of a memory table.</summary>
    internal const int MaxRegions = 8;

    /// <summary>In a message that carries a ring's eventfd: no file comes with it; the ring's number.</summary>
    internal const ulong NoFile = 1 << 8, RingMask = 0xff;

    /// <summary>Regions of in-flight memory begin on lines of that many bytes.</summary>
    internal const uint InflightAlignment = 64;
}

/// <summary>What a front end asks of a back end. Numbers of the protocol.</summary>
internal enum VhostRequest : uint
{
    GetFeatures = 1,
    SetFeatures = 2,
    SetOwner = 3,
    ResetOwner = 4,
    SetMemTable = 5,
    SetLogBase = 6,
    SetLogFd = 7,
    SetVringNum = 8,
    SetVringAddr = 9,
    SetVringBase = 10,
    GetVringBase = 11,
    SetVringKick = 12,
    SetVringCall = 13,
    SetVringErr = 14,
    GetProtocolFeatures = 15,
    SetProtocolFeatures = 16,
    GetQueueNum = 17,
    SetVringEnable = 18,
    SendRarp = 19,
    NetSetMtu = 20,
    GetInflightFd = 31,
    SetInflightFd = 32,
    ResetDevice = 34,
    SetStatus = 39,
    GetStatus = 40,
}

/// <summary>What every message begins with. vhost-user.rst, "Message Specification".</summary>
[StructLayout(LayoutKind.Explicit, Size = 12)]
internal struct VhostMessageHeader
{
    [FieldOffset(0)] internal VhostRequest Request;
    [FieldOffset(4)] internal uint Flags;

    /// <summary>Bytes that follow.</summary>
    [FieldOffset(8)] internal uint Size;
}

/// <summary>A number that belongs to a ring. linux/vhost_types.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct vhost_vring_state
{
    [FieldOffset(0)] internal uint index;
    [FieldOffset(4)] internal uint num;
}

/// <summary>Where a ring lies, in the front end's addresses. linux/vhost_types.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal struct vhost_vring_addr
{
    [FieldOffset(0)] internal uint index;
    [FieldOffset(4)] internal uint flags;
    [FieldOffset(8)] internal ulong desc_user_addr;
    [FieldOffset(16)] internal ulong used_user_addr;
    [FieldOffset(24)] internal ulong avail_user_addr;
    [FieldOffset(32)] internal ulong log_guest_addr;
}

/// <summary>One region of shared memory. vhost-user.rst, "Memory regions description".</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct VhostRegion
{
    /// <summary>Its address in descriptors.</summary>
    [FieldOffset(0)] internal ulong GuestAddress;
    [FieldOffset(8)] internal ulong Bytes;

    /// <summary>Its address in ring addresses.</summary>
    [FieldOffset(16)] internal ulong UserAddress;

    /// <summary>Where it begins in its file.</summary>
    [FieldOffset(24)] internal ulong FileOffset;
}

/// <summary>A piece of in-flight memory. vhost-user.rst, "Inflight description".</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
internal struct VhostInflightDescription
{
    [FieldOffset(0)] internal ulong Bytes;
    [FieldOffset(8)] internal ulong FileOffset;
    [FieldOffset(16)] internal ushort Queues;
    [FieldOffset(18)] internal ushort QueueSize;
}
