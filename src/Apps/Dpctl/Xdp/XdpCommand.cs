using Dataplane.Native;
using Dataplane.Pmd;
using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary><c>dpctl xdp</c>: what af_xdp ports need privileges for, done for those without.</summary>
internal static class XdpCommand
{
    private const UnixFileMode Folder = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
        Own = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Where a map and its link are pinned unless told otherwise.</summary>
    internal static string DefaultFolder(string name) => $"/sys/fs/bpf/dataplane-{name}";

    /// <summary>Where map and sockets are served unless told otherwise; where the device plugin has its own.</summary>
    internal static string DefaultSocket(string name) => $"/tmp/afxdp_dp/{name}/afxdp.sock";

    /// <summary>Puts the program on an interface and pins its map and link: both stay until <see
    /// cref="Unload"/>.</summary>
    internal static int Load(Host host, IAnsiConsole console, string name, string? folder, string? user, XdpMode mode)
    {
        folder ??= DefaultFolder(name);
        uint? uid = FindUser(host, console, user);
        using KernelInterface netdev = KernelInterface.Open("dpctl xdp", name);
        if (host.Exists(Map(folder)))
            throw new DataplaneException($"{Map(folder)} is there already",
                fix: $"dpctl xdp unload {name} --pin {folder}", errno: Errno.EEXIST);
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataplaneException($"cannot make {folder}", e.Message, "run as root; a bpf file system must be "
                + "mounted: sudo mount -t bpf bpf /sys/fs/bpf");
        }
        using XdpProgram program = XdpProgram.Attach("dpctl xdp", netdev, mode, 0, byNetlink: false);
        if (program.Link == null)
            throw new DataplaneException("this kernel has no links to pin", fix: "use dpctl xdp serve, or Linux 5.9",
                errno: Errno.EOPNOTSUPP);
        Bpf.Pin(program.Map, Map(folder));
        try
        {
            Bpf.Pin(program.Link, Link(folder));
        }
        catch (NativeException)
        {
            host.Delete(Map(folder));
            throw;
        }
        host.SetOwner(folder, uid, Folder);
        host.SetOwner(Map(folder), uid, Own);
        console.WriteLine($"{name}: {Where(program)}; --vdev net_af_xdp0,iface={name},use_pinned_map=1,dp_path="
            + Map(folder));
        return CommandLine.Ok;
    }

    /// <summary>Takes back what <see cref="Load"/> did.</summary>
    internal static int Unload(Host host, IAnsiConsole console, string name, string? folder)
    {
        folder ??= DefaultFolder(name);
        if (!host.Exists(Map(folder)) && !host.Exists(Link(folder)))
            throw new DataplaneException($"nothing is pinned in {folder}", fix: "say where: --pin FOLDER",
                errno: Errno.ENOENT);
        host.Delete(Link(folder));
        host.Delete(Map(folder));
        Directory.Delete(folder);
        console.WriteLine($"{name}: the program is gone");
        return CommandLine.Ok;
    }

    /// <summary>Puts the program on an interface and serves map and sockets until interrupted.</summary>
    internal static int Serve(Host host, IAnsiConsole console, string name, string? path, string? user, XdpMode mode,
        int busyBudget)
    {
        path ??= DefaultSocket(name);
        uint? uid = FindUser(host, console, user);
        using KernelInterface netdev = KernelInterface.Open("dpctl xdp", name);
        using XdpProgram program = XdpProgram.Attach("dpctl xdp", netdev, mode, 0, byNetlink: false);
        if (path.StartsWith('@'))
            throw new ConfigException($"--socket {path}: every user could reach it", fix: "give the path of a file");
        using var folders = new MadeFolders(path);
        using var server = new XdpServer(name, program, path, busyBudget);
        host.SetOwner(path, uid, Own);
        using var stop = new CancellationTokenSource();
        using var signals = new StopSignals(stop.Cancel);
        console.WriteLine($"{name}: {Where(program)}; --vdev net_af_xdp0,iface={name},use_cni=1,dp_path={path}");
        server.Run(stop.Token);
        return CommandLine.Ok;
    }

    private static string Map(string folder) => $"{folder}/map";

    private static string Link(string folder) => $"{folder}/link";

    private static string Where(XdpProgram program) => program.IsGeneric == true ? "in the general path"
        : "in the driver";

    private static uint? FindUser(Host host, IAnsiConsole console, string? user) =>
        user == null ? null : new Rights(host, new Changes(host, console, isDryRun: false)).FindUser(user);
}
