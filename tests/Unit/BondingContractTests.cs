using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Bonds as sender and receiver; the ports they are made of are in a list of their own, so that the suite sees
/// the bonds alone.</summary>
public abstract class BondingDriverContract(string members, string sender, string receiver) : DriverContract
{
    protected override IReadOnlyList<string> Devices => receiver.Length == 0 ? [$"net_bonding0,{sender}"]
        : [$"net_bonding0,{sender}", $"net_bonding1,{receiver}"];

    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_bonding0,mode=1", "net_bonding1,mode=7,member=net_null8", "net_bonding2,member=net_null8",
        "net_bonding3,mode=1,member=net_nothing", "net_bonding4,mode=2,member=net_null8,xmit_policy=l5",
        "net_bonding5,mode=1,member=net_null8,primary=net_null9", "net_bonding6,mode=1,member=net_null8,mac=1",
        "net_bonding7,mode=1,member=net_null8,member=net_null8", "net_bonding8,mode=1,slave=net_null8",
        "net_bonding9,mode=4,member=net_null8,agg_mode=best", "net_bonding10,mode=4,member=net_null8,lacp_rate=often",
        "net_bonding11,mode=1,member=net_null8,lsc_poll_period_ms=0",
        "net_bonding12,mode=1,member=net_null8,mac=01:00:5e:00:00:01", "net_bonding13,mode=x,member=net_null8",
    ];

    protected override IReadOnlyList<PortDriver> AllDrivers => [new OverHiddenPorts(members.Split(' '))];

    // Links and LACP are seen to by a control thread.
    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(20);

    protected override int ManyPackets => 200_000;

    /// <summary>The driver, over ports of a list that comes with the first bond and goes with the last.</summary>
    private sealed class OverHiddenPorts(string[] members) : PortDriver
    {
        private readonly BondingPmd _driver = new();
        private PortList? _hidden;
        private int _bonds;

        public override string Name => _driver.Name;

        public override string Help => _driver.Help;

        public override Port Create(PortContext context)
        {
            if (_bonds++ == 0)
            {
                _hidden = new PortList(context.Eal, Drivers.All);
                foreach (string member in members)
                    _hidden.Attach(member);
            }
            try
            {
                Port bond = _driver.Create(context with { Ports = _hidden });
                bond.Events += (_, what) => Forget(what == PortEvent.Closed ? 1 : 0);
                return bond;
            }
            catch
            {
                Forget(1);
                throw;
            }
        }

        private void Forget(int bonds)
        {
            _bonds -= bonds;
            if (bonds == 0 || _bonds > 0)
                return;
            foreach (Port port in _hidden!.Ports)
                Assert.Null(port.Owner);
            _hidden.Dispose();
        }
    }
}

public sealed class BondingBackupContract() : BondingDriverContract(
    "net_wire0 net_wire1 net_wire2 net_wire3 net_null8",
    "mode=1,member=net_wire0,member=net_wire2", "mode=1,member=net_wire1,member=net_wire3");

/// <summary>Several links keep no order between flows, and the suite wants all it sends in order: so the receiver has
/// an address by which the hash sends all of it by one of them.</summary>
public sealed class BondingBalanceContract() : BondingDriverContract(
    "net_wire0 net_wire1 net_wire2 net_wire3 net_null8",
    "mode=2,member=net_wire0,member=net_wire2",
    "mode=2,member=net_wire1,member=net_wire3,xmit_policy=l23,mac=02:00:00:00:00:f0");

public sealed class BondingInTurnContract() : BondingDriverContract(
    "net_wire0 net_wire1 net_wire2 net_wire3 net_null8",
    "mode=0,member=net_wire0,member=net_wire2", "mode=0,member=net_wire1,member=net_wire3");

/// <summary>A copy of each packet goes by the wire, another nowhere.</summary>
public sealed class BondingBroadcastContract() : BondingDriverContract(
    "net_wire0 net_wire1 net_null0,no-rx=1 net_null1,no-rx=1 net_null8",
    "mode=3,member=net_wire0,member=net_null0", "mode=3,member=net_wire1,member=net_null1");

public sealed class BondingNullContract() : BondingDriverContract("net_null0 net_null1 net_null8",
    "mode=1,member=net_null0,member=net_null1", "")
{
    protected override bool MakesItsOwn => true;
}

public sealed class BondingLacpContract() : BondingDriverContract(
    "net_wire0 net_wire1 net_wire2 net_wire3 net_null8",
    "mode=4,aggregate_wait_ms=0,lsc_poll_period_ms=1,member=net_wire0,member=net_wire2",
    "mode=4,aggregate_wait_ms=0,lsc_poll_period_ms=1,member=net_wire1,member=net_wire3,mac=02:00:00:00:00:f0")
{
    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(200);
}
