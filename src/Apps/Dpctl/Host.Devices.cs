using System.Diagnostics;
using System.Net;
using System.Net.NetworkInformation;
using Dataplane.Native;

namespace Dataplane.Dpctl;

/// <summary>Devices, interfaces and programs of the machine.</summary>
internal partial class Host
{
    /// <summary>Every PCI function, by address.</summary>
    internal IReadOnlyList<PciDevice> ScanPci() => PciScan.All(PathOf("/sys"));

    /// <summary>What a symbolic link says; null where there is none.</summary>
    internal string? LinkTarget(string path)
    {
        try
        {
            return new FileInfo(PathOf(path)).LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The IP addresses of an interface.</summary>
    internal virtual IReadOnlyList<IPAddress> AddressesOf(string netdev)
    {
        NetworkInterface? found = NetworkInterface.GetAllNetworkInterfaces().FirstOrDefault(n => n.Name == netdev);
        return found == null ? [] : [.. found.GetIPProperties().UnicastAddresses.Select(entry => entry.Address)];
    }

    /// <summary>Runs a program of the machine.</summary>
    /// <returns>Its exit code and what it wrote; -1 where it cannot be started.</returns>
    internal virtual (int Code, string Text) Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true,
            RedirectStandardError = true };
        try
        {
            using Process process = Process.Start(start)!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string text = process.StandardOutput.ReadToEnd() + errors.GetAwaiter().GetResult();
            process.WaitForExit();
            return (process.ExitCode, text.Trim());
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return (-1, e.Message);
        }
    }

    /// <summary>Gives a file to a user, with that mode.</summary>
    /// <param name="path">Which.</param>
    /// <param name="uid">The user's number; null leaves the owner.</param>
    /// <param name="mode">Its permissions then.</param>
    /// <exception cref="DataplaneException">This user may not.</exception>
    internal virtual void SetOwner(string path, uint? uid, UnixFileMode mode)
    {
        if (uid is { } owner && Unistd.chown(PathOf(path), owner, uint.MaxValue) != 0)
            throw NativeException.FromErrno($"cannot give {path} to user {owner}", fix: "run as root");
        if (Unistd.chmod(PathOf(path), (uint)mode) != 0)
            throw NativeException.FromErrno($"cannot change who may open {path}", fix: "run as root");
    }

    /// <summary>Removes a file. Does nothing where there is none.</summary>
    /// <exception cref="DataplaneException">This user may not.</exception>
    internal void Delete(string path)
    {
        try
        {
            File.Delete(PathOf(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataplaneException($"cannot remove {path}", e.Message, $"sudo rm {path}");
        }
    }

    /// <summary>Processes that have one of these files open, as <c>name (pid)</c>. As root, all of them.</summary>
    internal IReadOnlyList<string> HoldersOf(IReadOnlyList<string> paths)
    {
        var holders = new List<string>();
        foreach (string pid in List("/proc").Where(name => char.IsAsciiDigit(name[0])))
            if (ListOpen($"/proc/{pid}/fd").Any(fd => LinkTarget($"/proc/{pid}/fd/{fd}") is { } target
                && paths.Contains(target)))
                holders.Add($"{Read($"/proc/{pid}/comm")} ({pid})");
        return holders;
    }

    // Of another user's process, or one that ends just now, the list cannot be read.
    private IReadOnlyList<string> ListOpen(string directory)
    {
        try
        {
            return List(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
