namespace Dataplane;

/// <summary>DPDK's eight log levels; a smaller number is more urgent.</summary>
/// <remarks>
/// As levels to filter by all eight count. A message through ILogger is one of five: Critical, Error, Warning,
/// Information (<see cref="Info"/>), or Debug and Trace (<see cref="Debug"/>).
/// </remarks>
public enum LogSeverity
{
    /// <summary><c>emerg</c>: nothing works any more.</summary>
    Emergency = 1,

    /// <summary><c>alert</c>: somebody must act at once.</summary>
    Alert,

    /// <summary><c>critical</c>: a part has failed for good.</summary>
    Critical,

    /// <summary><c>error</c>: something asked for was not done.</summary>
    Error,

    /// <summary><c>warning</c>: done, but not as one would want it.</summary>
    Warning,

    /// <summary><c>notice</c>: normal and worth knowing.</summary>
    Notice,

    /// <summary><c>info</c>: normal.</summary>
    Info,

    /// <summary><c>debug</c>: for somebody looking for a fault.</summary>
    Debug,
}
