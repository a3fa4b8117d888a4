using System.Globalization;
using Dataplane.Net;

namespace Dataplane.Pmd;

/// <summary>
/// An interface's interrupts put off while its port polls it: otherwise the CPU that takes them and the one that polls
/// handle the same queue in turn, in each other's way. Put back at the end. Documentation/networking/napi.rst of Linux.
/// Control path.
/// </summary>
internal sealed class InterruptDelay : IDisposable
{
    /// <summary>How long a queue is left alone that nobody polls, nanoseconds.</summary>
    internal const int PatienceNs = 50_000;

    private const int EmptyPolls = 2;   // with nothing in them until interrupts are let in again; as napi.rst has it
    private readonly string _emptyPolls, _patience;

    private InterruptDelay(string folder)
    {
        _emptyPolls = folder + "napi_defer_hard_irqs";
        _patience = folder + "gro_flush_timeout";
    }

    /// <summary>Puts them off.</summary>
    /// <returns>Null where somebody else did, or where we may not.</returns>
    internal static InterruptDelay? TryBegin(KernelInterface netdev)
    {
        string folder = $"/sys/class/net/{netdev.Name}/";
        // It may show another namespace, with an interface of that name.
        if (Read(folder + "ifindex") != netdev.Index.ToString(CultureInfo.InvariantCulture)
            || !MacAddress.TryParse(Read(folder + "address"), out MacAddress mac) || !IsOf(netdev, mac))
            return null;
        var delay = new InterruptDelay(folder);
        if (Read(delay._emptyPolls) != "0" || Read(delay._patience) != "0" || !TryWrite(delay._patience, PatienceNs))
            return null;
        if (TryWrite(delay._emptyPolls, EmptyPolls))
            return delay;
        _ = TryWrite(delay._patience, 0);
        return null;
    }

    /// <summary>As it was, unless somebody has set something else meanwhile.</summary>
    public void Dispose()
    {
        if (Read(_emptyPolls) == EmptyPolls.ToString(CultureInfo.InvariantCulture))
            _ = TryWrite(_emptyPolls, 0);
        if (Read(_patience) == PatienceNs.ToString(CultureInfo.InvariantCulture))
            _ = TryWrite(_patience, 0);
    }

    private static bool IsOf(KernelInterface netdev, MacAddress mac)
    {
        try
        {
            return mac == netdev.GetMac();
        }
        catch (DeviceException)
        {
            return false;       // renamed or gone since
        }
    }

    private static string? Read(string file)
    {
        try
        {
            return File.ReadAllText(file).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static bool TryWrite(string file, int value)
    {
        try
        {
            File.WriteAllText(file, value.ToString(CultureInfo.InvariantCulture));
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
