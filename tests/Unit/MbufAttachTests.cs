namespace Dataplane.Tests;

public sealed unsafe class MbufAttachTests : IDisposable
{
    private static int s_freed;
    private readonly Eal _eal = Eal.Initialize(new EalOptions());
    private readonly Mempool _data, _headers;

    public MbufAttachTests()
    {
        _data = Mempool.CreateMbufPool(_eal.Memory, "data", 16, privateBytes: 8, dataRoomBytes: 512);
        _headers = Mempool.CreateMbufPool(_eal.Memory, "headers", 16, privateBytes: 24, dataRoomBytes: 0);
    }

    public void Dispose()
    {
        Assert.Equal((16, 16), (_data.AvailableCount, _headers.AvailableCount));
        foreach (nint item in _data.Objects().Concat(_headers.Objects()))
        {
            var m = new Mbuf((MbufHeader*)item);
            Assert.True(m.Check(isPacket: false, out string? why), why);
            Assert.True(m.IsDirect && m.BufferLength == (m.PrivateData.Length == 8 ? 512 : 0));
            Assert.Equal((nint)(m.Header + 1) + m.PrivateData.Length, (nint)m.Header->BufAddr);
            Assert.Equal(_eal.Memory.ToIova(m.Header->BufAddr).Value, m.Header->BufIova);
        }
        _data.Audit();
        _headers.Audit();
        _data.Dispose();
        _headers.Dispose();
        _eal.Dispose();
    }

    private Mbuf Packet(params string[] segments)
    {
        Mbuf packet = default;
        foreach (string text in segments)
        {
            Mbuf m = _data.Alloc();
            System.Text.Encoding.ASCII.GetBytes(text, new Span<byte>(m.Append(text.Length), text.Length));
            if (packet.IsNull)
                packet = m;
            else
                Assert.True(packet.TryChain(m));
        }
        packet.Port = 5;
        packet.VlanTci = 77;
        return packet;
    }

    private static string Text(Mbuf m)
    {
        var bytes = new byte[m.PacketLength];
        Assert.Equal(bytes.Length, m.CopyTo(bytes));
        return System.Text.Encoding.ASCII.GetString(bytes);
    }

    [Theory, InlineData(true), InlineData(false)]
    public void TryClone_EitherFreedFirst_DataLivesUntilTheLast(bool originalFirst)
    {
        Mbuf packet = Packet("one", "two", "three");
        Assert.True(packet.TryClone(_headers, out Mbuf clone));
        Assert.True(clone.IsIndirect && clone.Next.IsIndirect);
        Assert.Equal((3, 11, 5, 77), (clone.SegmentCount, clone.PacketLength, clone.Port, clone.VlanTci));
        Assert.Equal((2, 13), (packet.ReferenceCount, _headers.AvailableCount));
        (originalFirst ? packet : clone).Free();
        Assert.Equal(13, _data.AvailableCount);
        Mbuf left = originalFirst ? clone : packet;
        Assert.Equal("onetwothree", Text(left));
        Assert.True(left.Check(isPacket: true, out string? why), why);
        left.Free();
    }

    [Fact]
    public void TryClone_OfAClone_RefersToTheDirectOne()
    {
        Mbuf packet = Packet("data");
        Assert.True(packet.TryClone(_headers, out Mbuf first));
        Assert.True(first.TryClone(_headers, out Mbuf second));
        Assert.Equal(3, packet.ReferenceCount);
        packet.Free();
        first.Free();
        Assert.Equal("data", Text(second));
        second.Free();
    }

    [Fact]
    public void TryClone_PoolRunsDry_ChangesNothing()
    {
        Mbuf packet = Packet("a", "b", "c");
        var rest = new Mbuf[14];
        Assert.True(_headers.TryAllocBulk(rest));
        Assert.False(packet.TryClone(_headers, out Mbuf clone));
        Assert.True(clone.IsNull);
        Assert.Equal((2, 1, 1), (_headers.AvailableCount, packet.ReferenceCount, packet.Next.ReferenceCount));
        Mbuf.FreeBulk(rest);
        packet.Free();
    }

    [Fact]
    public void Attach_TrimmedClone_LeavesTheOriginalAlone()
    {
        Mbuf packet = Packet("0123456789");
        Mbuf view = _headers.Alloc();
        view.Attach(packet);
        Assert.True(view.Adj(3) && view.Trim(2));
        Assert.Equal(("34567", "0123456789"), (Text(view), Text(packet)));
        view.Detach();
        Assert.True(view.IsDirect && view.DataLength == 0);
        Assert.Equal(1, packet.ReferenceCount);
        view.Free();
        packet.Free();
    }

    [Fact]
    public void AttachExternal_SharedByClones_CallbackRunsOnceAtTheEnd()
    {
        s_freed = 0;
        var buffer = (byte*)_eal.Memory.Zmalloc(4096);
        var shared = (ExternalBuffer*)(buffer + 4000);
        shared->Init(&CountFree, buffer);
        Mbuf m = _headers.Alloc();
        m.AttachExternal(buffer, _eal.Memory.ToIova(buffer), 4000, shared);
        Assert.True(m.IsExternal && m.TrySetLength(4000) && m.Headroom == 0);
        Assert.True(m.TryClone(_headers, out Mbuf clone) && clone.IsExternal);
        Assert.Equal((2, 4000), (shared->ReferenceCount, clone.PacketLength));
        Assert.True(clone.DataPointer == buffer);
        m.Free();
        Assert.Equal(0, s_freed);
        clone.Free();
        Assert.Equal(1, s_freed);
        _eal.Memory.Free(buffer);
    }

    private static void CountFree(void* buffer, void* state) => s_freed += buffer == state ? 1 : 100;

    [Fact]
    public void FreeSegment_SharedSegment_StaysForTheOther()
    {
        Mbuf m = Packet("x");
        Assert.Equal(2, m.AddReferences(1));
        m.FreeSegment();
        Assert.Equal((1, 15), (m.ReferenceCount, _data.AvailableCount));
        m.FreeSegment();
    }

    [Fact]
    public void PrivateData_OfAnIndirectMbuf_IsItsOwn()
    {
        Mbuf packet = Packet("abc");
        Assert.True(packet.TryClone(_headers, out Mbuf clone));
        Assert.Equal((8, 24), (packet.PrivateData.Length, clone.PrivateData.Length));
        clone.Free();
        packet.Free();
    }

    [Fact]
    public void Clone_OfOneCloneByTwoOwners_CountsBoth()
    {
        using var start = new Barrier(2);
        for (int round = 0; round < 2_000; round++)
        {
            Mbuf packet = Packet("abc");
            Assert.True(packet.TryClone(_headers, out Mbuf clone));
            packet.Free();               // the clone's reference is the only one now
            clone.AddReferences(1);      // and both threads own the clone
            Mbuf first = default, second = default;
            var other = new Thread(() => CloneAtOnce(start, clone, out second));
            other.Start();
            CloneAtOnce(start, clone, out first);
            other.Join();
            Assert.Equal(3, new Mbuf((MbufHeader*)(clone.Header->BufAddr - 8) - 1).ReferenceCount);
            first.Free();
            second.Free();
            clone.Free();
            clone.Free();
        }
    }

    private void CloneAtOnce(Barrier start, Mbuf packet, out Mbuf clone)
    {
        start.SignalAndWait();
        Assert.True(packet.TryClone(_headers, out clone));
    }
}
