using System.Diagnostics;
using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Virtual functions of two NICs joined back to back, whose physical ones the kernel's igb drives.</summary>
[Guest(Machines.Intel)]
public sealed class IgbvfTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);
    private readonly string[] _physical, _virtual, _names;

    public IgbvfTests()
    {
        (string first, string second) = Guest.Pair("igb");
        _physical = [first, second];
        foreach (string nic in _physical)
            Rebind(nic, "igb");
        _names = [.. _physical.Select(nic => Path.GetFileName(Directory.GetDirectories(Sys(nic, "net")).Single()))];
        _virtual = [.. _physical.Select(MakeVirtual)];
        foreach (string name in _names)
            Run("ip", "link", "set", name, "up");
    }

    public void Dispose()
    {
        foreach (string nic in _physical)
        {
            File.WriteAllText(Sys(nic, "sriov_numvfs"), "0");
            Rebind(nic, "vfio-pci");
        }
    }

    [Fact]
    public void Traffic_BetweenVirtualFunctions_ArrivesWholeBothWays()
    {
        using var rig = new Opened(_virtual);
        rig.Start();
        for (int way = 0; way < 2; way++)
        {
            Port from = rig.Ports[way], to = rig.Ports[1 - way];
            for (int size = 60; size <= 1514; size += 97)
                rig.SendAndExpect(from, to, rig.Frame(from, to.MacAddress, size));
        }
        IReadOnlyList<Xstat> xstats = rig.Ports[0].GetXstats();
        Assert.Equal(rig.Ports[0].GetStats().TxPackets, xstats.Single(x => x.Name == "tx_mac_good_packets").Value);
        rig.Restart();
        rig.SendAndExpect(rig.Ports[0], rig.Ports[1], rig.Frame(rig.Ports[0], rig.Ports[1].MacAddress, 100));
        rig.Stop();
    }

    [Fact]
    public void Filters_AddressesAndVlans_LetThroughWhatIsAskedFor()
    {
        using var rig = new Opened(_virtual);
        rig.Start(new PortConfig { RxOffloads = RxOffloads.VlanFilter });
        Port from = rig.Ports[0], to = rig.Ports[1];
        MacAddress group = new(0x0100_5e00_0102), own = new(0x0200_0000_7777);
        rig.SendAndExpect(from, to, rig.Frame(from, MacAddress.Broadcast, 200));
        rig.ExpectNothing(from, to, rig.Frame(from, own, 200), rig.Frame(from, MacAddress.Broadcast, 61));
        to.AddMacAddress(group);
        rig.SendAndExpect(from, to, rig.Frame(from, group, 200));
        to.SetMacAddress(own);
        rig.SendAndExpect(from, to, rig.Frame(from, own, 200));
        byte[] tagged = rig.Frame(from, own, 200, vlan: 77);
        rig.ExpectNothing(from, to, tagged, rig.Frame(from, own, 62));
        to.SetVlanFilter(77, true);
        rig.SendAndExpect(from, to, tagged);         // and its tag is there
        rig.Stop();
    }

    [Fact]
    public void Mtu_LongFrames_ArriveOnlyWhenItAllowsThem()
    {
        using var rig = new Opened(_virtual, roomBytes: 4096);
        foreach (string name in _names)
            Run("ip", "link", "set", name, "mtu", "3000");
        rig.Start(new PortConfig { Mtu = 3000 });
        Port from = rig.Ports[0], to = rig.Ports[1];
        rig.SendAndExpect(from, to, rig.Frame(from, to.MacAddress, 3014));
        to.SetMtu(1500);
        rig.ExpectNothing(from, to, rig.Frame(from, to.MacAddress, 3014), rig.Frame(from, to.MacAddress, 1514));
        rig.Stop();
    }

    [Fact]
    public void Open_AddressTheHostGave_IsThePorts()
    {
        Run("ip", "link", "set", _names[0], "vf", "0", "mac", "02:00:00:00:55:01");
        using var rig = new Opened(_virtual);
        Assert.Equal(new MacAddress(0x0200_0000_5501), rig.Ports[0].MacAddress);
        rig.Start();
        Assert.Throws<DeviceException>(() => rig.Ports[0].SetMacAddress(new(0x0200_0000_5502)));
        rig.SendAndExpect(rig.Ports[1], rig.Ports[0], rig.Frame(rig.Ports[1], rig.Ports[0].MacAddress, 300));
        rig.Stop();
    }

    private static string MakeVirtual(string nic)
    {
        File.WriteAllText(Sys(nic, "sriov_drivers_autoprobe"), "0");
        File.WriteAllText(Sys(nic, "sriov_numvfs"), "1");
        string address = Path.GetFileName(Directory.ResolveLinkTarget(Sys(nic, "virtfn0"), false)!.Name);
        File.WriteAllText(Sys(address, "driver_override"), "vfio-pci");
        File.WriteAllText("/sys/bus/pci/drivers_probe", address);
        return address;
    }

    private static void Rebind(string nic, string driver)
    {
        if (Directory.Exists(Sys(nic, "driver")))
            File.WriteAllText(Sys(nic, "driver/unbind"), nic);
        File.WriteAllText(Sys(nic, "driver_override"), driver);
        File.WriteAllText("/sys/bus/pci/drivers_probe", nic);
        Assert.Equal(driver, Directory.ResolveLinkTarget(Sys(nic, "driver"), false)!.Name);
    }

    private static string Sys(string nic, string file) => $"/sys/bus/pci/devices/{nic}/{file}";

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    private sealed unsafe class Opened : IDisposable
    {
        private readonly Eal _eal;
        private readonly Mempool _pool;
        private readonly PortList _list;
        private int _sequence;

        internal Opened(string[] addresses, int roomBytes = 2048)
        {
            _eal = Eal.Initialize(new EalOptions
            {
                MemoryMb = 32, Allow = addresses, Lcores = [new(0, CpuSet.Of(0))],
            });
            _pool = Mempool.CreateMbufPool(_eal.Memory, "vf", 1024, cacheSize: 0,
                dataRoomBytes: roomBytes + Mbuf.DefaultHeadroom);
            _list = PortList.Probe(_eal, Drivers.All);
            Assert.Equal(2, Ports.Count);
            Assert.All(Ports, port => Assert.Equal("net_igbvf", port.Info.DriverName));
        }

        internal IReadOnlyList<Port> Ports => _list.Ports;

        internal void Start(PortConfig? config = null)
        {
            foreach (Port port in Ports)
                port.Start(config ?? new PortConfig(), _pool);
            Assert.All(Ports, port => Assert.True(port.WaitForLink(s_patience).Up));
        }

        internal void Restart()
        {
            foreach (Port port in Ports)
                port.Stop();
            foreach (Port port in Ports)
                port.Start();
        }

        internal void Stop()
        {
            foreach (Port port in Ports)
                port.Stop();
            Assert.Equal(1024, _pool.AvailableCount);
        }

        /// <summary>A frame of an experimental EtherType whose bytes tell which it is.</summary>
        internal byte[] Frame(Port from, MacAddress to, int bytes, ushort vlan = 0)
        {
            var frame = new byte[bytes];
            int at = 12;
            to.Write(frame);
            from.MacAddress.Write(frame.AsSpan(6));
            if (vlan != 0)
            {
                (frame[12], frame[13], frame[14], frame[15]) = (0x81, 0, (byte)(vlan >> 8), (byte)vlan);
                at = 16;
            }
            (frame[at], frame[at + 1]) = (0x88, 0xb5);
            int number = _sequence++;
            for (int i = at + 2; i < bytes; i++)
                frame[i] = (byte)(i * 7 + number);
            return frame;
        }

        internal void SendAndExpect(Port from, Port to, byte[] frame)
        {
            Send(from, frame);
            Assert.Equal(frame, Receive(to));
        }

        /// <summary>The first does not come: the second, sent after it, comes first.</summary>
        internal void ExpectNothing(Port from, Port to, byte[] stopped, byte[] passes)
        {
            Send(from, stopped);
            SendAndExpect(from, to, passes);
        }

        public void Dispose()
        {
            _list.Dispose();
            _pool.Dispose();
            _eal.Dispose();
        }

        private void Send(Port from, byte[] frame)
        {
            Mbuf packet = _pool.Alloc();
            frame.CopyTo(new Span<byte>(packet.Append(frame.Length), frame.Length));
            Assert.Equal(1, from.TxQueues[0].TxBurst([packet]));
            Assert.True(SpinWait.SpinUntil(() => from.TxQueues[0].ReclaimTx() > 0, s_patience), "not sent");
        }

        // The kernel's own frames (neighbour and router solicitations) are passed over.
        private static byte[] Receive(Port port)
        {
            var burst = new Mbuf[1];
            long start = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(start) < s_patience)
            {
                if (port.RxQueues[0].RxBurst(burst) == 0)
                    continue;
                byte[] frame = new ReadOnlySpan<byte>(burst[0].DataPointer, burst[0].DataLength).ToArray();
                burst[0].Free();
                int at = frame[12] == 0x81 && frame[13] == 0 ? 16 : 12;
                if (frame[at] == 0x88 && frame[at + 1] == 0xb5)
                    return frame;
            }
            throw new TimeoutException("no frame has come");
        }
    }
}
