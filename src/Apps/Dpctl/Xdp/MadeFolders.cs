namespace Dataplane.Dpctl;

/// <summary>The folders that had to be made for a file; taken away again where nobody else put something in.</summary>
internal sealed class MadeFolders : IDisposable
{
    private readonly List<string> _made = [];

    /// <summary>Makes every folder that is missing above a file.</summary>
    /// <exception cref="DataplaneException">This user may not.</exception>
    internal MadeFolders(string file)
    {
        string? folder = Path.GetDirectoryName(Path.GetFullPath(file));
        for (; folder != null && !Directory.Exists(folder); folder = Path.GetDirectoryName(folder))
            _made.Add(folder);
        try
        {
            if (_made.Count > 0)
                Directory.CreateDirectory(_made[0]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataplaneException($"cannot make {_made[0]}", e.Message);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            foreach (string folder in _made)
                Directory.Delete(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // somebody has something in it: it stays
        }
    }
}
