using System.Text.Json.Serialization;

namespace Dataplane.Dpctl;

/// <summary>How a check came out, the worst last.</summary>
internal enum Status
{
    [JsonStringEnumMemberName("ok")] Ok,
    [JsonStringEnumMemberName("warn")] Warn,
    [JsonStringEnumMemberName("fail")] Fail,
}

/// <summary>One thing doctor found.</summary>
/// <param name="Check">What was looked at, one word.</param>
/// <param name="Status">How it is.</param>
/// <param name="Text">What is so, with figures.</param>
/// <param name="Fix">The command or step that mends it; null where nothing is to mend.</param>
internal sealed record Finding(string Check, Status Status, string Text, string? Fix = null);
