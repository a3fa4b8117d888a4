namespace Dataplane;

/// <summary>The level of all log types a pattern matches, those registered later too.</summary>
/// <param name="Pattern">A log type's name; <c>*</c> stands for any characters, <c>?</c> for one.</param>
/// <param name="Level">Messages less urgent than this are dropped.</param>
public sealed record LogRule(string Pattern, LogSeverity Level);
