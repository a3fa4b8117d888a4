using System.Buffers.Binary;

namespace Dataplane.Tests;

/// <summary>The slot of one NIC inside a machine, from which it can be taken. Slot Control is in PCI Express
/// 7.5.3.10.</summary>
internal sealed class GuestSlot
{
    private const int CapabilityPointer = 0x34, ExpressId = 0x10, SlotControl = 0x18;
    private const int InterruptEnable = 1 << 5, IndicatorMask = 3 << 8, IndicatorOn = 1 << 8, PowerOff = 1 << 10;
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);

    private readonly int _number;
    private readonly string _config;
    private readonly int _control;

    /// <param name="nic">Address of the NIC in it now.</param>
    internal GuestSlot(string nic)
    {
        _number = Array.IndexOf(Guest.Nics, nic) + 1;
        string device = Directory.ResolveLinkTarget($"/sys/bus/pci/devices/{nic}", true)!.FullName;
        _config = Path.Combine(Path.GetDirectoryName(device)!, "config");
        Span<byte> space = stackalloc byte[256];
        using FileStream config = new(_config, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0);
        config.ReadExactly(space);
        int at = space[CapabilityPointer];
        while (space[at] != ExpressId)
            at = space[at + 1];
        _control = at + SlotControl;
    }

    private int Control
    {
        get
        {
            Span<byte> value = stackalloc byte[2];
            using FileStream config = new(_config, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0);
            config.Position = _control;
            config.ReadExactly(value);
            return BinaryPrimitives.ReadUInt16LittleEndian(value);
        }
        set
        {
            Span<byte> bytes = stackalloc byte[2];
            BinaryPrimitives.WriteUInt16LittleEndian(bytes, (ushort)value);
            using FileStream config = new(_config, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 0);
            config.Position = _control;
            config.Write(bytes);
        }
    }

    /// <summary>Takes the NIC out with no word to its driver: from then on it reads as all ones, and the kernel
    /// notices. With power and power indicator off QEMU ejects at once. The kernel must not see that power was off, or
    /// it takes the eject for its own doing: so interrupts are held back until power is on again.</summary>
    internal void PullOut()
    {
        int value = Control;
        Control = (value & ~InterruptEnable) | IndicatorMask | PowerOff;
        Control = (value & ~(IndicatorMask | PowerOff)) | IndicatorOn;
    }

    /// <summary>Presses the button: the kernel asks the NIC's driver to let go, after five seconds.</summary>
    internal void Unplug() => Guest.Monitor($"device_del nic{_number}");

    /// <summary>Puts the NIC back, once the kernel has switched the empty slot off.</summary>
    internal void PlugIn()
    {
        string model = Guest.Machine!.Pairs[(_number - 1) / 2];
        Assert.True(model is "igb" or "e1000e", "virtio has more properties than this knows");
        PlugIn($"{model},netdev=net{_number},id=nic{_number}");
    }

    /// <summary>Puts other functions in, once the kernel has switched the empty slot off.</summary>
    /// <param name="functions">QEMU's words for each; the kernel looks when function 0 comes, so that is the last.
    /// </param>
    internal void PlugIn(params ReadOnlySpan<string> functions)
    {
        const int off = IndicatorMask | PowerOff;
        Assert.True(SpinWait.SpinUntil(() => (Control & off) == off, s_patience), "the slot stays on");
        foreach (string function in functions)
            Guest.Monitor($"device_add {function},bus=rp{_number},romfile=");
    }
}
