using System.Runtime.InteropServices;

namespace Dataplane.Native;

/// <summary>pcap/bpf.h, 16 bytes.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal unsafe struct bpf_program
{
    [FieldOffset(0)] internal uint bf_len;
    [FieldOffset(8)] internal sock_filter* bf_insns;
}

/// <summary>
/// The compiler of filter expressions, pcap-filter(7), in the system's libpcap where that is installed. pcap/pcap.h.
/// Control path, one thread at a time: it is not told that its compiler may be used by several.
/// </summary>
internal static unsafe partial class Pcap
{
    private const string Library = "libpcap";
    private const int Ethernet = 1;                 // DLT_EN10MB
    private const uint NoNetmask = 0xffff_ffff;     // PCAP_NETMASK_UNKNOWN

    // Debian's name, and everybody else's.
    private static readonly string[] s_names = ["libpcap.so.0.8", "libpcap.so.1"];
    private static readonly Lock s_gate = new();

    [LibraryImport(Library)]
    private static partial void* pcap_open_dead(int linktype, int snaplen);

    [LibraryImport(Library)]
    private static partial void pcap_close(void* pcap);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int pcap_compile(void* pcap, bpf_program* program, string expression, int optimize,
        uint netmask);

    [LibraryImport(Library)]
    private static partial void pcap_freecode(bpf_program* program);

    [LibraryImport(Library)]
    private static partial byte* pcap_geterr(void* pcap);

    /// <summary>Whether it is installed.</summary>
    internal static bool IsInstalled => Handle != 0;

    /// <summary>The library, 0 where it is not installed.</summary>
    internal static nint Handle { get; } = Load();

    /// <summary>Compiles an expression for Ethernet frames.</summary>
    /// <param name="expression">As of pcap-filter(7), e.g. <c>tcp port 443</c>.</param>
    /// <param name="snapLength">What the program returns for a packet it takes.</param>
    /// <exception cref="ConfigException">The expression's fault, in libpcap's words.</exception>
    /// <exception cref="DataplaneException">libpcap is not installed.</exception>
    internal static sock_filter[] Compile(string expression, int snapLength)
    {
        if (!IsInstalled)
            throw new DataplaneException($"cannot compile the filter '{expression}'",
                $"that is done by libpcap, and neither {string.Join(" nor ", s_names)} is here",
                "install libpcap (sudo apt install libpcap0.8, sudo dnf install libpcap); or leave the filter out");
        lock (s_gate)
        {
            void* pcap = pcap_open_dead(Ethernet, snapLength);
            if (pcap == null)
                throw new DataplaneException($"cannot compile the filter '{expression}'", "libpcap has no memory");
            try
            {
                bpf_program program = default;
                if (pcap_compile(pcap, &program, expression, 1, NoNetmask) != 0)
                    throw new ConfigException($"the filter '{expression}' cannot be compiled",
                        Marshal.PtrToStringUTF8((nint)pcap_geterr(pcap)), "see man 7 pcap-filter");
                sock_filter[] code = new ReadOnlySpan<sock_filter>(program.bf_insns, (int)program.bf_len).ToArray();
                pcap_freecode(&program);
                return code;
            }
            finally
            {
                pcap_close(pcap);
            }
        }
    }

    private static nint Load()
    {
        nint handle = 0;
        foreach (string name in s_names)
            if (NativeLibrary.TryLoad(name, typeof(Pcap).Assembly, null, out handle))
                break;
        NativeLibrary.SetDllImportResolver(typeof(Pcap).Assembly, (name, _, _) => name == Library ? handle : 0);
        return handle;
    }
}
