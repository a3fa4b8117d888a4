namespace Dataplane.Native;

/// <summary>TUN and TAP. linux/if_tun.h.</summary>
internal static class IfTun
{
    internal const nuint TUNSETIFF = 0x400454ca, TUNSETPERSIST = 0x400454cb, TUNSETOFFLOAD = 0x400454d0,
        TUNGETIFF = 0x800454d2, TUNSETCARRIER = 0x400454e2;
    internal const short IFF_TUN = 0x0001, IFF_TAP = 0x0002, IFF_MULTI_QUEUE = 0x0100, IFF_NO_PI = 0x1000,
        IFF_VNET_HDR = 0x4000;
    internal const uint TUN_F_CSUM = 0x01, TUN_F_TSO4 = 0x02, TUN_F_TSO6 = 0x04, TUN_F_TSO_ECN = 0x08;
}
