using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>Classic socket filters. linux/filter.h, linux/bpf_common.h.</summary>
internal static class Filter
{
    internal const ushort BPF_RET_K = 0x06;
}

/// <summary>linux/filter.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
internal struct sock_filter
{
    [FieldOffset(0)] internal ushort code;
    [FieldOffset(2)] internal byte jt;
    [FieldOffset(3)] internal byte jf;
    [FieldOffset(4)] internal uint k;
}

/// <summary>linux/filter.h.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal unsafe struct sock_fprog
{
    [FieldOffset(0)] internal ushort len;
    [FieldOffset(8)] internal sock_filter* filter;
}
