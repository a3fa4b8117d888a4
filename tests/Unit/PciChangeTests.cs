using System.Text;

namespace Dataplane.Tests;

public class PciChangeTests
{
    private static bool Parse(string message, out PciChange change) =>
        PciChange.TryParse(Encoding.UTF8.GetBytes(message.Replace('|', '\0')), out change);

    [Theory]
    [InlineData("add", PciChangeKind.Added)]
    [InlineData("remove", PciChangeKind.Removed)]
    [InlineData("bind", PciChangeKind.Bound)]
    [InlineData("unbind", PciChangeKind.Unbound)]
    public void Message_OfAFunction_IsUnderstood(string action, PciChangeKind kind)
    {
        Assert.True(Parse($"{action}@/devices/pci0000:00/0000:00:01.0/0000:01:00.0|ACTION={action}|DEVPATH=/devices/pci"
            + "0000:00/0000:00:01.0/0000:01:00.0|SUBSYSTEM=pci|PCI_CLASS=20000|PCI_ID=8086:10C9|PCI_SLOT_NAME="
            + "0000:01:00.0|MODALIAS=pci:v00008086|SEQNUM=1234|", out PciChange change));
        Assert.Equal(new PciChange(kind, PciAddress.Parse("0000:01:00.0")), change);
    }

    [Theory]
    [InlineData("")]
    [InlineData("|||||")]
    [InlineData("change@/x|ACTION=change|SUBSYSTEM=pci|PCI_SLOT_NAME=0000:01:00.0|")]
    [InlineData("add@/x|ACTION=add|SUBSYSTEM=net|PCI_SLOT_NAME=0000:01:00.0|")]
    [InlineData("add@/x|ACTION=add|SUBSYSTEM=pci|PCI_SLOT_NAME=0000:01:00|")]
    [InlineData("add@/x|ACTION=add|SUBSYSTEM=pci|")]
    [InlineData("add@/x|SUBSYSTEM=pci|PCI_SLOT_NAME=0000:01:00.0")]
    [InlineData("libudev|ACTION=add|")]
    [InlineData("ACTION=add|SUBSYSTEM=pci|PCI_SLOT_NAME=")]
    public void Message_OfSomethingElse_IsPassedOver(string message) => Assert.False(Parse(message, out _));

    [Fact]
    public void Message_AnyBytes_DoNoHarm()
    {
        var random = new Random(5);
        byte[] bytes = new byte[300];
        for (int round = 0; round < 1000; round++)
        {
            random.NextBytes(bytes);
            Assert.False(PciChange.TryParse(bytes.AsSpan(0, random.Next(bytes.Length)), out _));
        }
    }

    [Fact]
    public void Between_TwoLooks_RemovesThenAdds()
    {
        PciAddress a = new(0, 1, 0, 0), b = new(0, 2, 0, 0), c = new(0, 3, 0, 0), d = new(0, 4, 0, 0);
        Assert.Equal([new(PciChangeKind.Removed, a), new(PciChangeKind.Added, c), new(PciChangeKind.Added, d)],
            PciChange.Between(new HashSet<PciAddress> { b, a }, new HashSet<PciAddress> { d, b, c }));
    }

    [Fact]
    public void Watch_StartedAndEnded_AsAnyUser()
    {
        using Eal eal = Eal.Initialize(new EalOptions { NoHuge = true });
        for (int i = 0; i < 3; i++)
            eal.Pci.Watch(_ => { }).Dispose();
        eal.Pci.Watch(_ => { });   // and one that is left to the environment
    }
}
