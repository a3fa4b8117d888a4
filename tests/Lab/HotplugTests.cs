namespace Dataplane.Tests;

/// <summary>Slots of a machine can lose their NIC and get it back.</summary>
[Guest(Machines.Intel)]
public sealed class HotplugTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Nic_TakenOutAndPutBack_IsGoneAndThereAgain(bool politely)
    {
        string nic = Guest.Pair("e1000e").Second, device = $"/sys/bus/pci/devices/{nic}";
        var slot = new GuestSlot(nic);
        if (politely)
            slot.Unplug();
        else
            slot.PullOut();
        Assert.True(SpinWait.SpinUntil(() => !Directory.Exists(device), s_patience), "still there");
        slot.PlugIn();
        Assert.True(SpinWait.SpinUntil(() => Directory.Exists(device + "/driver"), s_patience), "not back");
        File.WriteAllText(device + "/driver_override", "vfio-pci");
        File.WriteAllText(device + "/driver/unbind", nic);
        File.WriteAllText("/sys/bus/pci/drivers_probe", nic);
        Assert.Equal("vfio-pci", Directory.ResolveLinkTarget(device + "/driver", false)!.Name);
    }
}
