using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>
/// The words by which a privileged process hands an XSKMAP, and sockets, to one without rights: a socket of
/// SOCK_SEQPACKET, one request and one answer at a time. Those of the AF_XDP device plugin for Kubernetes, and one of
/// our own for sockets. doc/guides/howto/af_xdp_dp.rst of DPDK.
/// </summary>
internal static class XdpWords
{
    internal const string Connect = "/connect", HostOk = "/host_ok", HostNak = "/host_nak", Map = "/xsk_map_fd",
        FileOk = "/fd_ack", FileNak = "/fd_nak", End = "/fin", EndOk = "/fin_ack", Version = "/version",
        Unknown = "/nak", Sockets = "/xsk_fd";

    /// <summary>The version of the device plugin's words.</summary>
    internal const string VersionNumber = "0.1";

    /// <summary>Longest request or answer, bytes.</summary>
    internal const int MostBytes = 64;
}

/// <summary>The end of it that asks. Control path.</summary>
internal sealed class XdpHandover : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private readonly string _device;
    private readonly string _interface;
    private readonly string _path;
    private readonly UnixSocket _socket;

    /// <summary>Connects and says who we are.</summary>
    /// <exception cref="DeviceException">Nobody serves there, or not us.</exception>
    internal XdpHandover(string device, AfXdpOptions options)
    {
        _device = device;
        _interface = options.Interface;
        _path = options.Path;
        try
        {
            _socket = UnixSocket.Connect(options.Path, Socket.SOCK_SEQPACKET);
        }
        catch (NativeException e)
        {
            throw new DeviceException($"device '{device}': nobody hands over an XSKMAP at {options.Path}",
                why: e.Errno == Errno.EACCES ? "this user may not use that socket" : null,
                fix: $"run as root: dpctl xdp serve {options.Interface} --socket {options.Path} --user "
                    + Environment.UserName, errno: e.Errno);
        }
        try
        {
            if (Ask($"{XdpWords.Connect},{Environment.MachineName}", []) != XdpWords.HostOk)
                throw Refused("does not know this host");
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>The XSKMAP of the interface's program.</summary>
    /// <exception cref="DeviceException">There is none.</exception>
    internal SafeFileHandle TakeMap() => TakeFile($"{XdpWords.Map},{_interface}")
        ?? throw Refused($"has no XSKMAP of {_interface}");

    /// <summary>A new AF_XDP socket, or null where these are not served and one must have the right to make
    /// them.</summary>
    internal SafeFileHandle? TakeSocket() => TakeFile($"{XdpWords.Sockets},{_interface}");

    /// <summary>Says goodbye.</summary>
    public void Dispose()
    {
        try
        {
            _ = Ask(XdpWords.End, []);
        }
        catch (DataplaneException)
        {
            // It has gone already.
        }
        _socket.Dispose();
    }

    private SafeFileHandle? TakeFile(string request)
    {
        var files = new List<SafeFileHandle>();
        string answer = Ask(request, files);
        for (int i = answer == XdpWords.FileOk ? 1 : 0; i < files.Count; i++)
            files[i].Dispose();
        return answer == XdpWords.FileOk && files.Count > 0 ? files[0] : null;
    }

    private string Ask(string request, List<SafeFileHandle> files)
    {
        Span<byte> bytes = stackalloc byte[256];
        int length = System.Text.Encoding.ASCII.GetBytes(request, bytes);
        try
        {
            byte[] answer = new byte[XdpWords.MostBytes];
            int count = _socket.Send(bytes[..length]) < 0 ? 0 : -1;
            _ = SpinWait.SpinUntil(() => count != -1 || (count = _socket.Receive(answer, files)) != -1, s_patience);
            return count > 0 ? System.Text.Encoding.ASCII.GetString(answer, 0, count).TrimEnd('\0')
                : throw Refused("does not answer");
        }
        catch (NativeException e)
        {
            throw Refused("is gone: " + e.What);
        }
    }

    private DeviceException Refused(string why) => new($"device '{_device}': was handed nothing at {_path}",
        why: "who serves there " + why, fix: $"run as root: dpctl xdp serve {_interface} --socket {_path}");
}
