using System.Runtime.InteropServices;

namespace Dataplane.Native;

internal static unsafe partial class Unistd
{
    internal const int R_OK = 4, W_OK = 2;

    /// <summary>Returns 0 if the real user may use the file so.</summary>
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int access(string pathname, int mode);

    /// <summary>Changes a file's owner and group; all ones leaves one as it is.</summary>
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int chown(string pathname, uint owner, uint group);

    /// <summary>The user whose rights this process has.</summary>
    [LibraryImport("libc")]
    internal static partial uint geteuid();

    /// <summary>Makes a directory.</summary>
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int mkdir(string pathname, uint mode);

    /// <summary>Changes a file's permissions.</summary>
    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int chmod(string pathname, uint mode);
}
