namespace Dataplane;

/// <summary>
/// One stretch of memory taken from the kernel in one go: contiguous in the address space and in its file. Never moves;
/// stays until the <see cref="Memory"/> is disposed.
/// </summary>
/// <param name="Address">First byte.</param>
/// <param name="SizeBytes">A multiple of <paramref name="PageSizeBytes"/>.</param>
/// <param name="PageSizeBytes">Size of the pages behind it.</param>
/// <param name="NumaNode">The node it was bound to.</param>
/// <param name="Fd">The file it is a shared mapping of; owned by the <see cref="Memory"/>.</param>
/// <param name="FdOffset">Where in that file it begins, bytes.</param>
/// <param name="Iova">
/// A device's address of the first byte. In <see cref="IovaMode.Pa"/> only one page is sure to be contiguous: ask
/// <see cref="Memory.ToIova"/> for each.
/// </param>
public readonly record struct Memseg(nuint Address, nuint SizeBytes, nuint PageSizeBytes, int NumaNode, int Fd,
    long FdOffset, Iova Iova);

/// <summary>
/// Told of memory as it comes and goes, to map it for a device or a peer. Called on the control path, under the
/// memory's lock: do not allocate from it.
/// </summary>
public interface IMemsegWatcher
{
    /// <summary>
    /// A memseg was added; nobody uses it yet. Throwing refuses it: it is given back and the allocation fails with
    /// that.
    /// </summary>
    void MemsegAdded(Memseg memseg);

    /// <summary>A memseg is about to go. Must not throw.</summary>
    void MemsegRemoved(Memseg memseg);
}
