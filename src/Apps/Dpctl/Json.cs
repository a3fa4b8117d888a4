using System.Text.Json.Serialization;

namespace Dataplane.Dpctl;

/// <summary>What <c>doctor --json</c> prints.</summary>
internal sealed record DoctorReport(Status Status, IReadOnlyList<Finding> Findings);

/// <summary>What <c>ports --json</c> prints.</summary>
internal sealed record PortsReport(IReadOnlyList<NetDevice> Interfaces, IReadOnlyList<PciNetDevice> Unbound,
    IReadOnlyList<VirtualDriver> Drivers);

[JsonSourceGenerationOptions(WriteIndented = true, UseStringEnumConverter = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(DoctorReport))]
[JsonSerializable(typeof(PortsReport))]
[JsonSerializable(typeof(IReadOnlyList<HugepagePool>))]
[JsonSerializable(typeof(FunctionStatus[]))]
internal sealed partial class DpctlJson : JsonSerializerContext;
