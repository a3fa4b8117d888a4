using Xunit.Sdk;

namespace Dataplane.Tests;

public sealed class NullDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_null0"];
    protected override IReadOnlyList<string> BadDevices =>
        ["net_null0,size=13", "net_null1,size=x", "net_null2,copy=2", "net_null3,sise=64", "net_null4,nothing"];
    protected override bool MakesItsOwn => true;
}

public sealed class NullCopyDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_null0,copy=1,size=1000"];
    protected override IReadOnlyList<string> BadDevices => ["net_null0,no-rx=yes"];
    protected override bool MakesItsOwn => true;
}

public sealed class WireDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_wire0", "net_wire1"];
    protected override IReadOnlyList<string> BadDevices =>
        ["net_wire0,cabel=x", "net_wire1,loss=101", "net_wire2,delay=-1", "net_wire3,rate=10x", "net_wire4,pps=0",
        "net_wire5,drop=2"];
}

/// <summary>The way a packet takes over a cable that treats packets one by one.</summary>
public sealed class WireStampedDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_wire0,rate=900G", "net_wire1,jitter=0.001"];
    protected override IReadOnlyList<string> BadDevices => ["net_wire0,dup=x"];
    protected override TimeSpan Patience => TimeSpan.FromMilliseconds(20);
}

public sealed class RingLoopDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_ring0,size=64,queues=4"];
    protected override IReadOnlyList<string> BadDevices =>
    [
        "net_ring0,queues=0", "net_ring1,queues=65", "net_ring2,size=0", "net_ring3,peer=net_ring9", "net_ring4,ring=1",
        "net_ring5,nodeaction=a:0", "net_ring6,nodeaction=a:x:CREATE", "net_ring7,nodeaction=a:0:MAKE",
        "net_ring8,peer=net_ring8",
    ];
}

public sealed class RingPairDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_ring0", "net_ring1,peer=net_ring0"];
    protected override IReadOnlyList<string> BadDevices => ["net_ring0,peer=net_ring0"];
}

public sealed class FakeDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_fake0"];
    protected override IReadOnlyList<string> BadDevices => ["net_fake0,x=1"];
    protected override IReadOnlyList<PortDriver> AllDrivers => [new FakeDriver()];
}

/// <summary>A NIC in managed memory, so that the parts for NICs have one to pass.</summary>
public sealed class NicTwinDriverContract : DriverContract
{
    protected override IReadOnlyList<string> Devices => ["net_twin0", "net_twin1"];
    protected override IReadOnlyList<string> BadDevices => ["net_twin0,x=1"];
    protected override IReadOnlyList<PortDriver> AllDrivers => [new NicTwinDriver()];
    protected override bool IsNic => true;
    protected override int ManyPackets => 100_000;
}

/// <summary>The suite itself: each defect planted in a driver must fail the test that is there for it.</summary>
public sealed class DriverContractDetectsTests
{
    [Theory]
    [InlineData(Defect.Leak, nameof(DriverContract.Traffic_AnyMix_EveryMbufComesBack))]
    [InlineData(Defect.KeepsRefused, nameof(DriverContract.Transmit_NobodyReceives_CallerKeepsWhatIsNotTaken))]
    [InlineData(Defect.ForgetsOnStop, nameof(DriverContract.StartStop_HundredTimes_NothingStays))]
    [InlineData(Defect.CountsRefusedBytes, nameof(DriverContract.Counters_Traffic_EqualWhatMoved))]
    [InlineData(Defect.CountsNoRxBytes, nameof(DriverContract.Counters_Traffic_EqualWhatMoved))]
    [InlineData(Defect.Reorders, nameof(DriverContract.Data_Sent_ArrivesUnchangedAndInOrder))]
    [InlineData(Defect.Corrupts, nameof(DriverContract.Data_Sent_ArrivesUnchangedAndInOrder))]
    [InlineData(Defect.WrongPort, nameof(DriverContract.Data_Sent_ArrivesUnchangedAndInOrder))]
    [InlineData(Defect.LeavesTxFlags, nameof(DriverContract.Data_Sent_ArrivesUnchangedAndInOrder))]
    [InlineData(Defect.CutsSegments, nameof(DriverContract.Data_SeveralSegments_ArrivesWholeOrIsCounted))]
    [InlineData(Defect.Allocates, nameof(DriverContract.Traffic_ManyPackets_AllocatesNothing))]
    [InlineData(Defect.NoLink, nameof(DriverContract.Link_StartedAndStopped_FollowsThePort))]
    [InlineData(Defect.TakesAnyArgument, nameof(DriverContract.Arguments_Wrong_AreRefusedWithTheDevicesName))]
    public void Suite_DriverWithDefect_FailsTheTestForIt(Defect defect, string test)
    {
        var suite = new Faulty(defect);
        Action run = typeof(DriverContract).GetMethod(test)!.CreateDelegate<Action>(suite);
        Assert.IsType<IAssertionException>(Record.Exception(run), exactMatch: false);
    }

    [Theory]
    [InlineData(NicDefect.KeyIgnored, nameof(DriverContract.Rss_KeyChanged_HashFollows))]
    [InlineData(NicDefect.KeyLostOnStop, nameof(DriverContract.Rss_KeyChanged_HashFollows))]
    [InlineData(NicDefect.TableIgnored, nameof(DriverContract.Rss_TableChanged_QueuesFollow))]
    [InlineData(NicDefect.NoHash, nameof(DriverContract.Rss_ManyFlows_GoWhereHashAndTableSay))]
    [InlineData(NicDefect.StripsInSilence, nameof(DriverContract.VlanStrip_TaggedFrame_TagMovesIntoTheMbuf))]
    [InlineData(NicDefect.StripsAlways, nameof(DriverContract.VlanStrip_TaggedFrame_TagMovesIntoTheMbuf))]
    [InlineData(NicDefect.InsertsVlanAlone, nameof(DriverContract.VlanInsert_FlagSet_FrameLeavesWithATag))]
    [InlineData(NicDefect.VlanFilterSticks, nameof(DriverContract.VlanFilter_On_LetsThroughWhatWasAskedFor))]
    [InlineData(NicDefect.ChecksumsAlwaysGood, nameof(DriverContract.RxChecksum_GoodAndBad_AreToldApart))]
    [InlineData(NicDefect.ChecksumsSometimesBad, nameof(DriverContract.RxChecksum_GoodAndBad_AreToldApart))]
    [InlineData(NicDefect.UdpNotFilled, nameof(DriverContract.TxChecksum_AskedFor_IsFilledIn))]
    [InlineData(NicDefect.ScatterCutsShort, nameof(DriverContract.Scatter_JumboFrames_ArriveWholeInSeveralSegments))]
    [InlineData(NicDefect.MtuCountsTheHeader, nameof(DriverContract.Mtu_EachAllowed_FramesOfThatSizePass))]
    [InlineData(NicDefect.NoMbufUncounted, nameof(DriverContract.Receive_NothingGivenBack_CountsAndRecovers))]
    [InlineData(NicDefect.PromiscuousSticks, nameof(DriverContract.MacFilter_EachMode_LetsThroughWhatItShould))]
    [InlineData(NicDefect.AddressesLostOnStop, nameof(DriverContract.MacFilter_EachMode_LetsThroughWhatItShould))]
    [InlineData(NicDefect.StatusNeverDone, nameof(DriverContract.DescriptorStatus_PacketsMove_IsToldAsTheyDo))]
    [InlineData(NicDefect.InterruptLost, nameof(DriverContract.RxInterrupt_Armed_WakesOnAPacketAndNotOnSilence))]
    [InlineData(NicDefect.InterruptOnSilence, nameof(DriverContract.RxInterrupt_Armed_WakesOnAPacketAndNotOnSilence))]
    [InlineData(NicDefect.InterruptAlways, nameof(DriverContract.RxInterrupt_Armed_WakesOnAPacketAndNotOnSilence))]
    [InlineData(NicDefect.LinkUntold, nameof(DriverContract.Link_TakenDownAndUp_IsTold))]
    [InlineData(NicDefect.EepromSwapped, nameof(DriverContract.Eeprom_Read_BeginsWithTheAddress))]
    [InlineData(NicDefect.RegisterTwice, nameof(DriverContract.Registers_Read_AreNamedOnceAndAnswer))]
    [InlineData(NicDefect.FlowControlFixed, nameof(DriverContract.FlowControl_Set_IsTold))]
    public void Suite_NicWithDefect_FailsTheTestForIt(NicDefect defect, string test)
    {
        var suite = new FaultyNic(defect);
        Action run = typeof(DriverContract).GetMethod(test)!.CreateDelegate<Action>(suite);
        Assert.IsType<IAssertionException>(Record.Exception(run), exactMatch: false);
    }

    [Theory]
    [InlineData(NicDefect.SegmentsUnnumbered)]
    [InlineData(NicDefect.SegmentsAllLast)]
    public void Suite_NicThatCutsWrong_FailsTheTestForIt(NicDefect defect) => Assert.IsType<IAssertionException>(
        Record.Exception(() => new FaultyNic(defect).Tso_LargePacket_ArrivesInRightSegments(false, 1000)),
        exactMatch: false);

    private sealed class FaultyNic(NicDefect defect) : DriverContract
    {
        protected override IReadOnlyList<string> Devices => ["net_twin0", "net_twin1"];
        protected override IReadOnlyList<string> BadDevices => [];
        protected override IReadOnlyList<PortDriver> AllDrivers => [new NicTwinDriver(defect)];
        protected override bool IsNic => true;
    }

    private sealed class Faulty(Defect defect) : DriverContract
    {
        protected override IReadOnlyList<string> Devices => ["net_fake0"];
        protected override IReadOnlyList<string> BadDevices => ["net_fake0,x=1"];
        protected override IReadOnlyList<PortDriver> AllDrivers => [new FakeDriver(defect)];
        protected override int ManyPackets => 10_000;
    }
}
