using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane;

/// <summary>
/// A control-path failure that says what failed, why, how to fix it and where to read more.
/// The data path never throws: it counts.
/// </summary>
public class DataplaneException : Exception
{
    /// <summary>Makes an exception whose <see cref="Exception.Message"/> is the parts, one per line.</summary>
    /// <param name="what">What was tried and failed, naming the thing as the user named it.</param>
    /// <param name="why">The cause, or null when there is none beyond <paramref name="errno"/>.</param>
    /// <param name="fix">What the user can do, the exact command where there is one, or null.</param>
    /// <param name="see">A page under docs/, or null.</param>
    /// <param name="errno">The kernel's reason, <see cref="Errno.None"/> when no system call failed.</param>
    /// <param name="inner">The exception behind this one, or null.</param>
    public DataplaneException(string what, string? why = null, string? fix = null, string? see = null,
        Errno errno = Errno.None, Exception? inner = null)
        : base(Format(what, why, fix, see, errno), inner)
    {
        What = what;
        Why = why;
        Fix = fix;
        See = see;
        Errno = errno;
    }

    /// <summary>What failed.</summary>
    public string What { get; }

    /// <summary>Why it failed, or null.</summary>
    public string? Why { get; }

    /// <summary>How to fix it, or null.</summary>
    public string? Fix { get; }

    /// <summary>Where to read more, or null.</summary>
    public string? See { get; }

    /// <summary>The kernel's error number, <see cref="Errno.None"/> when no system call failed.</summary>
    public Errno Errno { get; }

    private static string Format(string what, string? why, string? fix, string? see, Errno errno)
    {
        var text = new StringBuilder(what);
        if (errno != Errno.None)
            text.Append(" (").Append(errno).Append(')');
        if (why != null)
            text.Append("\n  why: ").Append(why);
        if (fix != null)
            text.Append("\n  fix: ").Append(fix);
        if (see != null)
            text.Append("\n  see: ").Append(see);
        return text.ToString();
    }
}

/// <summary>An option, devargs or configuration value that cannot be used.</summary>
public class ConfigException(string what, string? why = null, string? fix = null, string? see = null)
    : DataplaneException(what, why, fix, see);

/// <summary>A device or kernel interface that cannot be used, or that failed.</summary>
public class DeviceException(string what, string? why = null, string? fix = null, string? see = null,
    Errno errno = Errno.None) : DataplaneException(what, why, fix, see, errno);

/// <summary>A system call that failed for a reason nobody above could put better.</summary>
public class NativeException(string what, Errno errno, string? why = null, string? fix = null, string? see = null)
    : DataplaneException(what, why, fix, see, errno)
{
    /// <summary>The exception for the system call that just failed on this thread.</summary>
    /// <param name="what">What was tried, with the call's name.</param>
    /// <param name="why">The cause, where it is known better than the errno says it.</param>
    /// <param name="fix">What the user can do, or null.</param>
    public static NativeException FromErrno(string what, string? why = null, string? fix = null) =>
        new(what, (Errno)Marshal.GetLastPInvokeError(), why, fix);
}
