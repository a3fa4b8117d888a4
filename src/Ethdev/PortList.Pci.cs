using System.Text;
using Microsoft.Extensions.Logging;

namespace Dataplane;

/// <summary>A network function that did not become a port.</summary>
/// <param name="Device">Which.</param>
/// <param name="Reason">Why, e.g. <c>bound to the kernel's driver igb, its interface eth0 is up</c>.</param>
public sealed record PassedOverFunction(PciDevice Device, string Reason);

/// <summary>PCI functions as ports.</summary>
public sealed partial class PortList
{
    private readonly List<PassedOverFunction> _passedOver = [];

    /// <summary>Every network function that <see cref="Probe"/> did not make a port of, by address.</summary>
    public IReadOnlyList<PassedOverFunction> PassedOver => _passedOver;

    /// <summary>The exception for an application that has no ports to work on: lists every network function of the
    /// machine with the reason it is none, and what to do.</summary>
    /// <param name="what">What failed, e.g. <c>there is no port to forward on</c>.</param>
    /// <param name="vdevs">Options that would make ports without a NIC.</param>
    public ConfigException NoPorts(string what, string vdevs)
    {
        var why = new StringBuilder(_eal.Options.NoPci ? "--no-pci was given"
            : _passedOver.Count == 0 ? "this machine shows no PCI network function"
            : "no PCI network function could be used:");
        foreach ((PciDevice device, string reason) in _passedOver)
            why.Append("\n       ").Append(device).Append(": ").Append(reason);
        PciDevice? candidate = _passedOver.Find(one => !one.Device.IsBoundToVfio && DriverOf(one.Device) != null
            && _eal.Pci.WhyBarred(one.Device.Address) == null)?.Device;
        string bind = candidate == null ? "" : $"bind one to vfio-pci: sudo dpctl bind {candidate.Address}; or ";
        return new ConfigException(what, why.ToString(), $"{bind}name virtual ones: {vdevs} (dpctl ports lists what "
            + "there is)");
    }

    private void ProbePci()
    {
        PciBus bus = _eal.Pci;
        if (_eal.Options.NoPci && bus.Allowed.Count == 0)
            return;
        foreach (PciAddress address in bus.Allowed)
            if (bus.Devices.All(device => device.Address != address))
                throw NotThere(address);
        foreach (PciDevice device in bus.Devices)
        {
            bool isWanted = bus.Allowed.Contains(device.Address);
            string? reason = WhyNot(device, bus.WhyBarred(device.Address));
            if (reason != null && isWanted)
                throw CannotUse(device, reason);
            if (reason == null)
                reason = isWanted ? MakePort(device) : TryMakePort(device);
            if (reason != null && device.IsNetwork)
                _passedOver.Add(new(device, reason));
        }
    }

    private string? TryMakePort(PciDevice device)
    {
        try
        {
            return MakePort(device);
        }
        catch (DataplaneException e) when (e is DeviceException or NativeException)
        {
            // Nobody named it: another process may have it, or this user no right to it.
            LogPassedOver(_eal.Log.CreateLogger("lib.ethdev"), device.Address, e.Message);
            return e.Why == null ? e.What : $"{e.What}: {e.Why}";
        }
    }

    private string? MakePort(PciDevice device)
    {
        Open(device, DriverOf(device)!, _eal.Pci.ArgsOf(device.Address));
        return null;
    }

    private Port AttachPci(PciAddress address, DevArgs args)
    {
        RequireNew(args, "detach its port first");
        PciDevice device = _eal.Pci.Find(address) ?? throw NotThere(address);
        if (WhyNot(device, barred: null) is { } reason)
            throw CannotUse(device, reason);
        return Open(device, DriverOf(device)!, args);
    }

    private Port Open(PciDevice device, PciPortDriver driver, DevArgs args)
    {
        PciFunction function = _eal.Pci.Open(device, driver.DmaAddressBits);
        try
        {
            return Add(driver.Create(new PortContext(_eal, args, FreeId()) { Ports = this, Function = function }));
        }
        catch
        {
            function.Dispose();
            throw;
        }
    }

    private PciPortDriver? DriverOf(PciDevice device) => _drivers.OfType<PciPortDriver>()
        .FirstOrDefault(driver => driver.Ids.Any(id => id.Matches(device)));

    private string? WhyNot(PciDevice device, string? barred)
    {
        var reasons = new List<string>();
        if (barred != null)
            reasons.Add(barred);
        if (DriverOf(device) == null)
            reasons.Add($"no driver for [{device.Vendor:x4}:{device.Device:x4}]");
        if (!device.IsBoundToVfio)
        {
            reasons.Add(device.KernelDriver == null ? "bound to no driver"
                : $"bound to the kernel's driver {device.KernelDriver}");
            reasons.AddRange(device.Interfaces.Select(name =>
                $"its interface {name} is {_eal.Pci.InterfaceState(name)}"));
        }
        return reasons.Count == 0 ? null : string.Join(", ", reasons);
    }

    private DeviceException CannotUse(PciDevice device, string reason) => new($"cannot use {device}", reason,
        device.IsBoundToVfio || DriverOf(device) == null ? "dpctl status lists every function and what can drive it"
        : $"sudo dpctl bind {device.Address}", "docs/setup/binding.md");

    private static DeviceException NotThere(PciAddress address) => new($"cannot use {address}",
        "there is no such PCI function", "dpctl status lists those there are", errno: Errno.ENODEV);

    [LoggerMessage(LogLevel.Warning, "{Address} is passed over: {Reason}")]
    private static partial void LogPassedOver(ILogger logger, PciAddress address, string reason);
}
