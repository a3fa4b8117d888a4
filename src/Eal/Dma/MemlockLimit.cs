using System.Globalization;

namespace Dataplane;

/// <summary>The limit of locked memory, which counts pinned memory too. getrlimit(2), RLIMIT_MEMLOCK.</summary>
internal static class MemlockLimit
{
    /// <summary>The kernel does not pin that much.</summary>
    /// <param name="needBytes">What devices are to reach, in all.</param>
    /// <param name="limits">/proc/self/limits, or what stands for it.</param>
    internal static DeviceException TooSmall(ulong needBytes, string? limits = null)
    {
        ulong? have = Read(limits ?? File.ReadAllText("/proc/self/limits"));
        string what = string.Create(CultureInfo.InvariantCulture,
            $"cannot pin {needBytes >> 10} KB of memory for devices");
        return have == null
            ? new(what, "the kernel has no memory left for its tables", errno: Errno.ENOMEM)
            : new(what, string.Create(CultureInfo.InvariantCulture,
                $"the limit of locked memory of this process (RLIMIT_MEMLOCK) is {have >> 10} KB"),
                "raise it for the user in /etc/security/limits.d/dataplane.conf (USER - memlock unlimited) and log in "
                + "again, or for this shell: sudo prlimit --memlock=unlimited --pid $$; or take less memory with -m",
                DmaBackends.See, Errno.ENOMEM);
    }

    /// <summary>The soft limit in bytes; null for none.</summary>
    internal static ulong? Read(string limits)
    {
        const string Name = "Max locked memory";
        foreach (string line in limits.Split('\n'))
            if (line.StartsWith(Name, StringComparison.Ordinal))
            {
                string soft = line[Name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0];
                return ulong.TryParse(soft, NumberStyles.None, CultureInfo.InvariantCulture, out ulong bytes)
                    ? bytes : null;
            }
        return null;
    }
}
