namespace Dataplane.Tests;

public class PciCapabilityTests
{
    private static FakeFunction WithList(params (int Place, byte Id, byte Next)[] list)
    {
        var function = new FakeFunction();
        function.Put16(0x06, 0x10);
        function.Config[0x34] = (byte)list[0].Place;
        foreach ((int place, byte id, byte next) in list)
            function.Put16(place, (ushort)(next << 8 | id));
        return function;
    }

    private static FakeFunction WithExtended(params (int Place, ushort Id, int Next)[] list)
    {
        var function = new FakeFunction();
        foreach ((int place, ushort id, int next) in list)
            function.Put32(place, (uint)next << 20 | 1 << 16 | id);
        return function;
    }

    [Fact]
    public void Find_SeveralOfAKind_GivesOneAfterTheOther()
    {
        FakeFunction function = WithList((0x40, 0x01, 0x50), (0x50, 0x09, 0x70), (0x70, 0x11, 0x84),
            (0x84, 0x09, 0xfc), (0xfc, 0x09, 0));
        Assert.Equal(0x40, function.FindCapability(0x01));
        Assert.Equal([0x50, 0x84, 0xfc, 0], new[] { function.FindCapability(0x09), function.FindCapability(0x09, 0x50),
            function.FindCapability(0x09, 0x84), function.FindCapability(0x09, 0xfc) });
        Assert.Equal(0, function.FindCapability(0x10));
    }

    [Fact]
    public void Find_NoListOrNoDevice_IsNothing()
    {
        FakeFunction without = WithList((0x40, 0x01, 0));
        without.Put16(0x06, 0);
        Assert.Equal(0, without.FindCapability(0x01));
        var gone = new FakeFunction();
        Array.Fill(gone.Config, (byte)0xff);
        Assert.Equal(0, gone.FindCapability(0xff));
        Assert.Equal(0, gone.FindExtendedCapability(0xffff));
    }

    [Theory]
    [InlineData(0x40, 0x50, 0x40)]     // back to the first
    [InlineData(0x40, 0x50, 0x50)]     // to itself
    [InlineData(0x40, 0x10, 0x40)]     // into the header
    [InlineData(0x00, 0x50, 0x40)]     // no first one
    [InlineData(0xfe, 0x50, 0x03)]     // reserved bits set
    public void Find_BrokenList_Ends(byte first, byte next, byte last)
    {
        FakeFunction function = WithList((0x40, 0x01, next), (0x50, 0x05, last));
        function.Config[0x34] = first;
        Assert.Equal(0, function.FindCapability(0x09));
        Assert.InRange(function.Reads, 1, 50);
    }

    [Fact]
    public void Find_AnyBytes_EndsAndStaysInside()
    {
        var random = new Random(20261120);
        for (int round = 0; round < 2000; round++)
        {
            var function = new FakeFunction(new FakeFunction().Device, random.Next(2) == 0 ? 256 : 4096);
            random.NextBytes(function.Config);
            function.Config[0x06] |= 0x10;
            for (int place = 0, i = 0; (place = function.FindCapability(0x09, place)) != 0; i++)
                Assert.True(place is >= 0x40 and < 0x100 && i < 64);
            for (int place = 0, i = 0; (place = function.FindExtendedCapability(0x10, place)) != 0; i++)
                Assert.True(place is >= 0x100 and < 0x1000 && i < 1024);
        }
    }

    [Fact]
    public void FindExtended_List_IsWalked()
    {
        FakeFunction function = WithExtended((0x100, 0x01, 0x140), (0x140, 0x0b, 0x160), (0x160, 0x10, 0x200),
            (0x200, 0x0b, 0));
        Assert.Equal([0x100, 0x160, 0x140, 0x200, 0, 0], new[] { function.FindExtendedCapability(0x01),
            function.FindExtendedCapability(0x10), function.FindExtendedCapability(0x0b),
            function.FindExtendedCapability(0x0b, 0x140), function.FindExtendedCapability(0x0b, 0x200),
            function.FindExtendedCapability(0x20) });
    }

    [Theory]
    [InlineData(0x100)]
    [InlineData(0x140)]
    [InlineData(0x080)]
    public void FindExtended_BrokenList_Ends(int last)
    {
        FakeFunction function = WithExtended((0x100, 0x01, 0x140), (0x140, 0x0b, last));
        Assert.Equal(0, function.FindExtendedCapability(0x10));
        Assert.InRange(function.Reads, 1, 1000);
    }

    [Fact]
    public void FindExtended_ConventionalFunction_HasNone()
    {
        var conventional = new FakeFunction(new FakeFunction().Device, 256);
        Assert.Equal(0, conventional.FindExtendedCapability(0x10));
        Assert.Equal(0, new FakeFunction().FindExtendedCapability(0));
    }
}
