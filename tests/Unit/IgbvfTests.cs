using Dataplane.Net;
using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>The virtual function against a physical one of plain memory and a thread.</summary>
public sealed unsafe class IgbvfTests
{
    private const uint Ack = 0x8000_0000, Nack = 0x4000_0000, ClearToSend = 0x2000_0000;
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2), s_short = TimeSpan.FromMilliseconds(200);
    private static readonly MacAddress s_given = new(0x5254_0011_2233);

    [Fact]
    public void Create_PhysicalGivesAnAddress_IsThePorts()
    {
        using var rig = new VirtualRig(Answer);
        using Port port = rig.Open(s_patience);
        Assert.Equal(s_given, port.MacAddress);
        Assert.Equal([[1u]], rig.Requests);
        Assert.Equal(1u << 26, rig.Register(0));             // VTCTRL.RST
    }

    [Fact]
    public void Start_PhysicalGaveNoAddress_AsksForOneOfItsOwn()
    {
        using var rig = new VirtualRig(message => message[0] == 1 ? [1 | Nack | ClearToSend] : Answer(message));
        using Port port = rig.Open(s_patience);
        Assert.False(port.MacAddress.IsMulticast);
        Assert.Equal(2ul, port.MacAddress.Value >> 40 & 3);   // locally administered
        rig.Requests.Clear();
        rig.Start(port);
        uint[] ask = rig.Requests[1];
        Assert.Equal([2u, .. Words(port.MacAddress)], ask);
        Assert.Equal([5u, 1500 + 22 + 4], rig.Requests[2]);
    }

    [Fact]
    public void Create_PhysicalIsSilent_SaysSo()
    {
        using var rig = new VirtualRig(_ => null);
        DeviceException e = Assert.Throws<DeviceException>(() => rig.Open(s_short));
        Assert.Contains("does not answer", e.What);
        Assert.Contains("nothing has come", e.Why);
        Assert.Contains("ip link set", e.Fix);
    }

    [Fact]
    public void Create_PhysicalStaysInReset_SaysSo()
    {
        using var rig = new VirtualRig(Answer);
        rig.Register(0xc40) = 1 << 6;
        DeviceException e = Assert.Throws<DeviceException>(() => rig.Open(s_short));
        Assert.Contains("not ready", e.What);
        Assert.Contains("in reset", e.Why);
        Assert.Empty(rig.Requests);
    }

    [Fact]
    public void Create_DeviceReadsAllOnes_SaysItDoesNotAnswer()
    {
        using var rig = new VirtualRig(_ => null);
        new Span<byte>(rig.Bar, NicFunction.BarBytes).Fill(0xff);
        Assert.Contains("does not answer", Assert.Throws<DeviceException>(() => rig.Open(s_short)).Why);
    }

    [Fact]
    public void Create_PhysicalGivesAGroupAddress_IsRefused()
    {
        using var rig = new VirtualRig(_ => [1 | Ack, 0x005e0001, 0]);
        Assert.Contains("group address", Assert.Throws<DeviceException>(() => rig.Open(s_patience)).Why);
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(1u)]                         // neither done nor refused
    [InlineData(1u | Ack | Nack)]            // both
    [InlineData(2u | Ack)]                   // a reply to something else
    [InlineData(0xffff_ffffu)]
    public void Create_PhysicalSaysWhatIsNoReply_FailsAndShowsIt(uint word)
    {
        using var rig = new VirtualRig(_ => [word, 0x11111111, 0x2222]);
        DeviceException e = Assert.Throws<DeviceException>(() => rig.Open(s_short));
        Assert.Contains("does not answer", e.What);
        if (word != 0)
            Assert.Contains($"0x{word:x}", e.Why);
    }

    [Theory]
    [InlineData(0x100u | ClearToSend)]                   // a control message came over the reply
    [InlineData(0x100u | ClearToSend | Nack)]            // it came over the request, and was refused by itself
    public void Create_ControlMessageBetween_AsksAgain(uint control)
    {
        int asked = 0;
        using var rig = new VirtualRig(message => asked++ < 2 ? [control] : Answer(message));
        using Port port = rig.Open(s_patience);
        Assert.Equal(s_given, port.MacAddress);
        Assert.Equal(3, asked);
    }

    [Fact]
    public void Start_AddressesModesAndVlans_AreToldAgain()
    {
        using var rig = new VirtualRig(Answer);
        using Port port = rig.Open(s_patience);
        MacAddress own = new(0x0200_0000_0077), more = new(0x0200_0000_0078);
        port.Configure(new PortConfig { RxOffloads = RxOffloads.VlanFilter });
        port.SetMacAddress(own);
        port.AddMacAddress(more);
        port.AddMacAddress(new(0x0100_5e00_0102));
        port.AddMacAddress(new(0x0100_5e7f_fffa));
        port.SetAllMulticast(true);
        port.SetVlanFilter(0x123, true);
        port.SetupRxQueue(0, rig.Pool);
        port.SetupTxQueue(0);
        for (int round = 0; round < 2; round++)
        {
            rig.Requests.Clear();
            port.Start();
            port.Stop();
            Assert.Equal(8, rig.Requests.Count);
            Assert.Equal([1u], rig.Requests[0]);
            Assert.Equal([2u, .. Words(own)], rig.Requests[1]);
            Assert.Equal([2u | 1 << 16], rig.Requests[2]);
            Assert.Equal([2u | 2 << 16, .. Words(more)], rig.Requests[3]);
            // Bits 47:36: the last byte, and the upper half of the one before.
            Assert.Equal([3u | 2 << 16, 0x0020u | 0xfafu << 16], rig.Requests[4]);
            Assert.Equal([6u | 2 << 16], rig.Requests[5]);
            Assert.Equal([4u | 1 << 16, 0x123u], rig.Requests[6]);
            Assert.Equal(5u, rig.Requests[7][0]);
        }
        Assert.Equal((0u, 0u), (rig.Register(0x2828), rig.Register(0x3828)));   // the queues are off
    }

    [Fact]
    public void Filters_PhysicalRefuses_ThrowsAndNothingIsChanged()
    {
        using var rig = new VirtualRig(
            message => message[0] == 1 ? Answer(message) : [message[0] | Nack | ClearToSend]);
        using Port port = rig.Open(s_patience);
        port.Configure(new PortConfig { RxOffloads = RxOffloads.VlanFilter });
        Assert.Contains("VLAN 5", Assert.Throws<DeviceException>(() => port.SetVlanFilter(5, true)).What);
        Assert.Throws<DeviceException>(() => port.SetMtu(3000));
        Assert.Throws<DeviceException>(() => port.SetMacAddress(new(0x0200_0000_0077)));
        Assert.Throws<DeviceException>(() => port.AddMacAddress(new(0x0200_0000_0077)));
        Assert.Equal((1500, s_given, 1), (port.Mtu, port.MacAddress, port.MacAddresses.Count));
        Assert.Equal(Errno.EOPNOTSUPP, Assert.Throws<DataplaneException>(() => port.SetPromiscuous(true)).Errno);
    }

    [Fact]
    public void SetMtu_FramesThatOnlyFitInPartOfAKilobyte_IsRefusedBeforeItAsks()
    {
        using var rig = new VirtualRig(Answer);
        using Port port = rig.Open(s_patience);
        using Mempool pool = Mempool.CreateMbufPool(rig.Memory, "odd", 64, cacheSize: 0,
            dataRoomBytes: Mbuf.DefaultHeadroom + 2500);
        port.Configure(new PortConfig());
        port.SetupRxQueue(0, pool);
        int asked = rig.Requests.Count;
        Assert.Contains("2 of 2500", Assert.Throws<ConfigException>(() => port.SetMtu(2200)).Why);
        Assert.Equal((1500, asked), (port.Mtu, rig.Requests.Count));
        port.SetMtu(1900);
        Assert.Equal(1900, port.Mtu);
    }

    [Fact]
    public void Filters_PhysicalWasReset_BeginsAnewOrSaysSoWhereThePortRuns()
    {
        bool knows = false;
        using var rig = new VirtualRig(message =>
        {
            knows |= message[0] == 1;
            return knows ? Answer(message) : [message[0] | Nack];
        });
        using Port port = rig.Open(s_patience);
        knows = false;
        rig.Requests.Clear();
        port.SetMtu(1400);
        Assert.Equal([5u, 1u, 5u], rig.Requests.Select(message => message[0]));
        rig.Start(port);
        knows = false;
        Assert.Contains("stop the port", Assert.Throws<DeviceException>(() => port.SetMtu(1300)).Fix);
        port.Stop();
        port.Start();
        port.SetMtu(1300);
    }

    [Fact]
    public void Start_PhysicalHasGone_FailsAndThePoolIsWhole()
    {
        bool gone = false;
        using var rig = new VirtualRig(message => gone ? null : Answer(message));
        using Port port = rig.Open(TimeSpan.FromSeconds(5));
        int before = rig.Pool.AvailableCount;
        gone = true;
        Assert.Contains("does not answer", Assert.Throws<DeviceException>(() => rig.Start(port)).What);
        gone = false;
        port.Start();                                        // and it is back
        Assert.NotEqual(before, rig.Pool.AvailableCount);
        port.Stop();
        Assert.Equal(before, rig.Pool.AvailableCount);
    }

    [Fact]
    public void Xstats_RegistersWrap_CountOn()
    {
        using var rig = new VirtualRig(Answer);
        rig.Register(0xf10) = 0xffff_fff0;
        using Port port = rig.Open(s_patience);
        Assert.Equal(0ul, Good(port));
        rig.Register(0xf10) = 0x10;
        Assert.Equal(0x20ul, Good(port));
        rig.Register(0xf10) = 0x11;
        Assert.Equal(0x21ul, Good(port));
    }

    private static ulong Good(Port port) => port.GetXstats().Single(x => x.Name == "rx_mac_good_packets").Value;

    private static uint[] Words(MacAddress address)
    {
        var bytes = new byte[8];
        address.Write(bytes);
        return [BitConverter.ToUInt32(bytes), BitConverter.ToUInt32(bytes, 4)];
    }

    private static uint[]? Answer(uint[] message) =>
        message[0] == 1 ? [1 | Ack, .. Words(s_given)] : [message[0] | Ack | ClearToSend];

    /// <summary>A virtual function's registers, and a thread that is the physical function's driver.</summary>
    private sealed class VirtualRig : IDisposable
    {
        private readonly Eal _eal = Eal.Initialize(new EalOptions { NoHuge = true, NoPci = true });
        private readonly NicContainer _container;
        private readonly NicFunction _nic;
        private readonly Func<uint[], uint[]?> _answer;
        private readonly Thread _thread;
        private volatile bool _stop;

        internal VirtualRig(Func<uint[], uint[]?> answer)
        {
            _answer = answer;
            _container = new NicContainer(_eal.Memory);
            _nic = (NicFunction)_container.Open(new PciDevice
            {
                Address = default, Vendor = 0x8086, Device = 0x10ca, SysfsPath = "",
            });
            Pool = Mempool.CreateMbufPool(_eal.Memory, "vf", 512, cacheSize: 0);
            _thread = new Thread(Serve);
            _thread.Start();
        }

        internal byte* Bar => _nic.Bar;

        internal Memory Memory => _eal.Memory;

        internal Mempool Pool { get; }

        /// <summary>What was asked: the words that message has. Written before it is answered.</summary>
        internal List<uint[]> Requests { get; } = [];

        internal ref uint Register(int offset) => ref *(uint*)(_nic.Bar + offset);

        internal Port Open(TimeSpan patience) => new IgbvfPort(
            new PortContext(_eal, DevArgs.Parse("0000:01:10.0"), 0) { Function = _nic }, patience);

        internal void Start(Port port) => port.Start(new PortConfig(), Pool);

        public void Dispose()
        {
            _stop = true;
            _thread.Join();
            Pool.Dispose();
            _nic.Dispose();
            _container.Dispose();
            _eal.Dispose();
        }

        private void Serve()
        {
            var spin = new SpinWait();
            for (; !_stop; spin.SpinOnce())
            {
                if (Volatile.Read(ref Register(0xc40)) != 1)         // REQ
                    continue;
                var message = new uint[Length(Register(0x800))];
                for (int i = 0; i < message.Length; i++)
                    message[i] = Register(0x800 + 4 * i);
                Requests.Add(message);
                Volatile.Write(ref Register(0xc40), 1 << 5);         // ACK
                if (_answer(message) is not uint[] reply)
                    continue;
                for (int i = 0; i < reply.Length; i++)
                    Register(0x800 + 4 * i) = reply[i];
                Volatile.Write(ref Register(0xc40), 1 << 4);         // STS
            }
        }

        // The own address and one more have it with them; a multicast list is cut to what its number says.
        private static int Length(uint word) => (word & 0xffff) switch
        {
            2 => (word >> 16 & 0xff) == 1 ? 1 : 3,
            3 => 1 + ((int)(word >> 16 & 0xff) + 1) / 2,
            4 or 5 => 2,
            _ => 1,
        };
    }
}
