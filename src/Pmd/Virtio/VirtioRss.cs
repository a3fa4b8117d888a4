using System.Buffers.Binary;
using Dataplane.Native;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>What goes with the commands for receive side scaling. VIRTIO 1.2 §5.1.6.5.7.</summary>
internal static class VirtioRss
{
    private static readonly (RssFields Field, uint Type)[] s_types =
    [
        (RssFields.Ipv4, VirtioNet.VIRTIO_NET_RSS_HASH_TYPE_IPv4),
        (RssFields.Ipv4Tcp, VirtioNet.VIRTIO_NET_RSS_HASH_TYPE_TCPv4),
        (RssFields.Ipv4Udp, VirtioNet.VIRTIO_NET_RSS_HASH_TYPE_UDPv4),
        (RssFields.Ipv6, VirtioNet.VIRTIO_NET_RSS_HASH_TYPE_IPv6),
        (RssFields.Ipv6Tcp, VirtioNet.VIRTIO_NET_RSS_HASH_TYPE_TCPv6),
        (RssFields.Ipv6Udp, VirtioNet.VIRTIO_NET_RSS_HASH_TYPE_UDPv6),
    ];

    /// <summary>What a device with these hash types can hash.</summary>
    internal static RssFields FieldsOf(uint types)
    {
        RssFields fields = RssFields.None;
        foreach ((RssFields field, uint type) in s_types)
            fields |= (types & type) != 0 ? field : RssFields.None;
        return fields;
    }

    /// <summary>A struct virtio_net_rss_config.</summary>
    /// <param name="rss">Fields and key.</param>
    /// <param name="types">What the device can hash.</param>
    /// <param name="table">Receive queue numbers; a power of two of them.</param>
    /// <param name="txQueues">Transmit queues in use.</param>
    internal static byte[] Config(RssConfig rss, uint types, ReadOnlySpan<ushort> table, int txQueues)
    {
        ReadOnlySpan<byte> key = rss.Key ?? Toeplitz.MicrosoftKey;
        var bytes = new byte[8 + 2 * table.Length + 3 + key.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, TypesOf(rss, types));
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(4), (ushort)(table.Length - 1));
        int at = 8;                                     // the queue of packets that cannot be hashed is 0
        foreach (ushort queue in table)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(at), queue);
            at += 2;
        }
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(at), (ushort)txQueues);
        bytes[at + 2] = (byte)key.Length;
        key.CopyTo(bytes.AsSpan(at + 3));
        return bytes;
    }

    /// <summary>A struct virtio_net_hash_config.</summary>
    internal static byte[] HashConfig(RssConfig rss, uint types)
    {
        ReadOnlySpan<byte> key = rss.Key ?? Toeplitz.MicrosoftKey;
        var bytes = new byte[4 + 8 + 1 + key.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, TypesOf(rss, types));
        bytes[12] = (byte)key.Length;
        key.CopyTo(bytes.AsSpan(13));
        return bytes;
    }

    private static uint TypesOf(RssConfig rss, uint types)
    {
        uint wanted = 0;
        foreach ((RssFields field, uint type) in s_types)
            wanted |= (rss.Fields & field) != 0 ? type : 0;
        return wanted & types;
    }
}
