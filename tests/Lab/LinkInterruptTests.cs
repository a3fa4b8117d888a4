namespace Dataplane.Tests;

/// <summary>Which interrupts a NIC has is the user's to say (<c>--vfio-intr</c>).</summary>
[Guest(Machines.Intel612)]
public sealed class LinkInterruptTests
{
    [Theory]
    [InlineData("igb", InterruptKind.IntX, "vfio-intx")]
    [InlineData("igb", InterruptKind.Msi, "vfio-msi[0]")]
    [InlineData("igb", InterruptKind.MsiX, "vfio-msix[0]")]
    [InlineData("virtio", InterruptKind.IntX, "vfio-intx")]
    [InlineData("virtio", InterruptKind.MsiX, "vfio-msix[0]")]
    [InlineData("virtio-packed", InterruptKind.IntX, "vfio-intx")]
    public void Link_InterruptsOfOneKindOnly_IsToldByThem(string model, InterruptKind only, string name)
    {
        using DriverRig rig = Rig(model, only);
        rig.Start();
        string address = Guest.Pair(model).Second, line = $"{name}({address})";
        Assert.Contains(line, Lines(address));
        Assert.All(Lines(address), one => Assert.Equal(name.Split('[')[0], one.Split('[', '(')[0]));
        int nic = Array.IndexOf(Guest.Nics, address) + 1;
        // Changes in quick succession may be one interrupt: three in many show that it comes again once it was served.
        long wanted = Count(line) + 3;
        bool up = true;
        for (int changes = 0; !up || Count(line) < wanted; changes++)
        {
            Assert.True(changes < 100, $"the link went down and up {changes / 2} times: no {line}");
            up = !up;
            Guest.Monitor($"set_link nic{nic} {(up ? "on" : "off")}");
            Assert.True(rig.WaitFor(() => rig.Receiver.GetLink().Up == up), $"link is not {(up ? "up" : "down")}");
        }
        rig.WaitForLinks();
        rig.Offer(rig.Packet(new TestFrame(1) { To = rig.Receiver.MacAddress }.Build()));
        List<(int, Mbuf Packet)> arrived = rig.Collect(1);
        Assert.Single(arrived).Packet.Free();
    }

    /// <summary>virtio has no MSI: the port has no interrupts then, and is none the worse.</summary>
    [Fact]
    public void Port_WithoutTheKindAskedFor_PollsTheLink()
    {
        using DriverRig rig = Rig("virtio", InterruptKind.Msi);
        Assert.False(rig.Receiver.Info.RxInterrupts);
        rig.Start();
        string address = Guest.Pair("virtio").Second;
        Assert.Empty(Lines(address));
        bool told = false;
        rig.Receiver.Events += (port, what) =>
        {
            if (what == PortEvent.LinkChanged && !port.GetLink().Up)
                Volatile.Write(ref told, true);
        };
        Guest.Monitor($"set_link nic{Array.IndexOf(Guest.Nics, address) + 1} off");
        Assert.True(rig.WaitFor(() => Volatile.Read(ref told)), "nobody is told that the link is down");
        Guest.Monitor($"set_link nic{Array.IndexOf(Guest.Nics, address) + 1} on");
        rig.WaitForLinks();
    }

    /// <summary>A pair of NICs, opened and not started.</summary>
    internal static DriverRig Rig(string model, InterruptKind only = InterruptKind.None)
    {
        (string first, string second) = Guest.Pair(model);
        return new DriverRig(Pmd.Drivers.All, [first, second], TimeSpan.FromMilliseconds(300), new EalOptions
        {
            MemoryMb = 64, IommuBackend = IommuBackend.Iommufd, VfioIntr = only,
        });
    }

    private static long Count(string name) => Rows().Where(row => row[^1] == name)
        .Sum(row => row.TakeWhile(word => word.All(char.IsAsciiDigit)).Sum(long.Parse));

    // What a NIC's driver has of interrupts, by the kernel's names.
    private static IEnumerable<string> Lines(string address) => Rows().Select(row => row[^1])
        .Where(name => name.Contains($"({address})", StringComparison.Ordinal));

    // Without the number of each: counts for each CPU, where from, and by whose name.
    private static IEnumerable<string[]> Rows() => File.ReadLines("/proc/interrupts").Skip(1)
        .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..]).Where(row => row.Length > 0);
}
