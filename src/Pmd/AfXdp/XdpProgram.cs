using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// The program on an interface that gives the packets of each queue to the socket in the map's place of that number,
/// and to the kernel where there is none. Gone with this object, or with the process however it ends. Control path.
/// </summary>
internal sealed class XdpProgram : IDisposable
{
    /// <summary>What the program is called (<c>ip link show</c>, <c>bpftool</c>).</summary>
    internal const string Name = "dataplane_xsk";

    /// <summary>How a program gets by without root: all that any step here needs.</summary>
    internal const string SetCapabilities =
        "sudo setcap cap_net_admin,cap_net_raw,cap_bpf,cap_ipc_lock+ep PROGRAM";

    private const short RxQueueIndexOffset = 16;   // struct xdp_md, linux/bpf.h
    private const uint LeastPlaces = 256;

    private readonly SafeFileHandle? _link, _program;
    private readonly int _ifindex;
    private readonly uint _flags;

    private XdpProgram(SafeFileHandle map, SafeFileHandle? program, SafeFileHandle? link, int ifindex, uint flags)
    {
        Map = map;
        _program = program;
        _link = link;
        _ifindex = ifindex;
        _flags = flags;
    }

    /// <summary>The XSKMAP.</summary>
    internal SafeFileHandle Map { get; }

    /// <summary>The link, for pinning; null where attached by netlink, or by somebody else.</summary>
    internal SafeFileHandle? Link => _link;

    /// <summary>It runs in the general receive path; null where somebody else attached it.</summary>
    internal bool? IsGeneric => _program == null ? null : _flags == IfLink.XDP_FLAGS_SKB_MODE;

    /// <summary>Around a map that came from outside, with its program in place. Owns it.</summary>
    /// <exception cref="DeviceException">It is no XSKMAP.</exception>
    internal static XdpProgram OfMap(string device, SafeFileHandle map, string from)
    {
        try
        {
            if (Bpf.MapInfo(map).type != Bpf.BPF_MAP_TYPE_XSKMAP)
                throw new DeviceException($"device '{device}': what came from {from} is no XSKMAP",
                    why: "it is a map of another type");
            return new XdpProgram(map, null, null, 0, 0);
        }
        catch (NativeException e)
        {
            map.Dispose();
            throw new DeviceException($"device '{device}': what came from {from} is no XSKMAP", why: e.Message,
                errno: e.Errno);
        }
        catch
        {
            map.Dispose();
            throw;
        }
    }

    /// <summary>Loads the program and puts it on the interface.</summary>
    /// <param name="device">The port's name, for messages.</param>
    /// <param name="netdev">The interface.</param>
    /// <param name="mode">Where it is to run.</param>
    /// <param name="places">Queues of the map, at least.</param>
    /// <param name="byNetlink">Not by a link of bpf(2).</param>
    /// <exception cref="DeviceException">EPERM, EBUSY, or the kernel cannot.</exception>
    internal static XdpProgram Attach(string device, KernelInterface netdev, XdpMode mode, int places, bool byNetlink)
    {
        SafeFileHandle? map = null, program = null;
        try
        {
            map = Bpf.CreateMap(Bpf.BPF_MAP_TYPE_XSKMAP, sizeof(uint), sizeof(int),
                Math.Max((uint)places, LeastPlaces), Name);
            program = Load(Socket.Fd(map));
            uint[] modes = mode switch
            {
                XdpMode.Driver => [IfLink.XDP_FLAGS_DRV_MODE],
                XdpMode.Generic => [IfLink.XDP_FLAGS_SKB_MODE],
                _ => [IfLink.XDP_FLAGS_DRV_MODE, IfLink.XDP_FLAGS_SKB_MODE],
            };
            for (int i = 0; ; i++)
                try
                {
                    return AttachIn(map, program, netdev.Index, modes[i], byNetlink);
                }
                catch (NativeException e) when (i + 1 < modes.Length && e.Errno is not (Errno.EPERM or Errno.EBUSY
                    or Errno.EEXIST or Errno.ENODEV))
                {
                    // The driver has no XDP, or not as the interface is set up now: the general path has.
                }
        }
        catch (NativeException e)
        {
            map?.Dispose();
            program?.Dispose();
            throw Explain(device, netdev, e);
        }
    }

    /// <summary>The program's instructions.</summary>
    /// <param name="map">The XSKMAP's file.</param>
    internal static BpfAssembler Build(int map) => new BpfAssembler()
        .Load32(2, 1, RxQueueIndexOffset)
        .LoadMap(1, map)
        .Move(3, Bpf.XDP_PASS)      // what becomes of packets without a socket: low bits of the helper's flags
        .Call(Bpf.BPF_FUNC_redirect_map)
        .Exit();

    /// <summary>Puts a socket into the map.</summary>
    /// <exception cref="NativeException">E2BIG: no such place; EPERM.</exception>
    internal void SetSocket(int queue, SafeFileHandle socket) => Bpf.Update(Map, (uint)queue, Socket.Fd(socket));

    /// <summary>Takes the program off the interface.</summary>
    public void Dispose()
    {
        if (_link != null)
            _link.Dispose();
        else if (_program is { IsClosed: false })
            Detach();
        _program?.Dispose();
        Map.Dispose();
    }

    private void Detach()
    {
        try
        {
            if (Bpf.ProgramName(IfLink.GetXdp(_ifindex)) == Name)
                IfLink.SetXdp(_ifindex, -1, _flags);
        }
        catch (NativeException)
        {
            // The interface is gone, and the program with it.
        }
    }

    private static SafeFileHandle Load(int map)
    {
        ReadOnlySpan<bpf_insn> code = Build(map).Instructions;
        try
        {
            return Bpf.LoadProgram(code, Bpf.BPF_PROG_TYPE_XDP, Bpf.BPF_XDP, Bpf.BPF_F_XDP_HAS_FRAGS, Name);
        }
        catch (NativeException e) when (e.Errno == Errno.EINVAL)
        {
            // Before Linux 5.18: frames of several buffers are unknown. Before 5.9, so is saying where it goes.
            return Bpf.LoadProgram(code, Bpf.BPF_PROG_TYPE_XDP, 0, 0, Name);
        }
    }

    private static XdpProgram AttachIn(SafeFileHandle map, SafeFileHandle program, int ifindex, uint flags,
        bool byNetlink)
    {
        if (!byNetlink)
            try
            {
                SafeFileHandle link = Bpf.CreateLink(program, ifindex, Bpf.BPF_XDP, flags);
                return new XdpProgram(map, program, link, ifindex, flags);
            }
            catch (NativeException e) when (e.Errno == Errno.EINVAL
                && Environment.OSVersion.Version < new Version(5, 9))
            {
                // No links yet.
            }
        // One left by a process that was killed is ours to replace; nobody else's is.
        uint there = IfLink.GetXdp(ifindex);
        uint replace = there != 0 && Bpf.ProgramName(there) == Name ? 0 : IfLink.XDP_FLAGS_UPDATE_IF_NOEXIST;
        IfLink.SetXdp(ifindex, Socket.Fd(program), flags | replace);
        return new XdpProgram(map, program, null, ifindex, flags);
    }

    private static DeviceException Explain(string device, KernelInterface netdev, NativeException e) => e.Errno switch
    {
        Errno.EPERM => new DeviceException($"device '{device}': no right to put an XDP program on {netdev.Name}",
            why: "that needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, and CAP_IPC_LOCK for a pool above 'ulimit -l'",
            fix: $"run as root, or let root run 'dpctl xdp serve {netdev.Name}' and add use_cni=1,dp_path=SOCKET; or: "
                + SetCapabilities, errno: e.Errno),
        Errno.EBUSY or Errno.EEXIST => new DeviceException($"device '{device}': {netdev.Name} has an XDP program",
            why: $"another process uses it: {Bpf.ProgramName(IfLink.GetXdp(netdev.Index)) ?? "name unknown"}",
            fix: $"end that process; several can share what 'dpctl xdp serve {netdev.Name}' serves; a program nobody "
                + $"owns goes with: sudo ip link set {netdev.Name} xdp off", errno: e.Errno),
        _ => new DeviceException($"device '{device}': cannot put an XDP program on {netdev.Name}", why: e.Message,
            fix: "Linux 5.3 or later with CONFIG_XDP_SOCKETS is needed; mode=skb works with every driver",
            errno: e.Errno),
    };
}
