using Spectre.Console;

namespace Dataplane.Dpctl;

/// <summary>Changes to the machine, each told before it is made; in a dry run only told.</summary>
internal sealed class Changes(Host host, IAnsiConsole console, bool isDryRun)
{
    /// <summary>Nothing is changed.</summary>
    internal bool IsDryRun => isDryRun;

    /// <summary>Writes a setting of the kernel, or a file whose directory is there.</summary>
    /// <exception cref="DataplaneException">It cannot be written.</exception>
    internal void Write(string path, string text)
    {
        Tell(text.Trim().Length == 0 ? $"clear {path}" : text.Contains('\n') ? $"write {path}:\n{text.TrimEnd()}"
            : $"write {text} to {path}");
        if (!isDryRun)
            host.Write(path, text);
    }

    /// <summary>Runs a program; true where it ended well.</summary>
    internal bool Run(string program, params string[] arguments)
    {
        Tell($"run {program} {string.Join(' ', arguments)}");
        if (isDryRun)
            return true;
        (int code, string text) = host.Run(program, arguments);
        if (code != 0)
            console.WriteLine($"  {program}: {text}");
        return code == 0;
    }

    /// <summary>Gives a file to a user.</summary>
    /// <exception cref="DataplaneException">This user may not.</exception>
    internal void SetOwner(string path, uint? uid, UnixFileMode mode)
    {
        Tell($"give {path}{(uid == null ? "" : $" to user {uid}")} mode {Convert.ToString((int)mode, 8)}");
        if (!isDryRun)
            host.SetOwner(path, uid, mode);
    }

    /// <summary>Removes a file that is there.</summary>
    /// <exception cref="DataplaneException">This user may not.</exception>
    internal void Delete(string path)
    {
        if (!host.Exists(path))
            return;
        Tell($"remove {path}");
        if (!isDryRun)
            host.Delete(path);
    }

    private void Tell(string what)
    {
        if (isDryRun)
            console.WriteLine("would " + what);
    }
}
