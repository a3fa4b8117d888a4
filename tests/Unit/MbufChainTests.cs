using FsCheck;
using FsCheck.Fluent;

namespace Dataplane.Tests;

public unsafe class MbufChainTests
{
    private const int Room = 64;

    /// <summary>Operations on one packet and on a list of bytes, which must stay the same.</summary>
    [Fact]
    public void Operations_AnySequence_PacketAndModelAgree()
    {
        Gen<(int Op, int A, int B)[]> runs = (from op in Gen.Choose(0, 8)
                                              from a in Gen.Choose(0, 80)
                                              from b in Gen.Choose(0, 200)
                                              select (op, a, b)).ArrayOf(30);
        Prop.ForAll(runs.ToArbitrary(), Agrees).QuickCheckThrowOnFailure();
    }

    private static bool Agrees((int Op, int A, int B)[] steps)
    {
        using Eal eal = Eal.Initialize(new EalOptions());
        using Mempool pool = Mempool.CreateMbufPool(eal.Memory, "p", 200, dataRoomBytes: 128 + Room);
        Mbuf packet = pool.Alloc();
        var model = new List<byte>();
        byte next = 1;
        foreach ((int op, int a, int b) in steps)
        {
            switch (op)
            {
                case 0 or 1: Append(packet, model, a, ref next); break;
                case 2: Prepend(packet, model, a, ref next); break;
                case 3: Cut(packet.DataLength >= a, packet.Adj(a), model, 0, a); break;
                case 4: Cut(packet.LastSegment.DataLength >= a, packet.Trim(a), model, model.Count - a, a); break;
                case 5: Chain(pool, packet, model, a, ref next); break;
                case 6: Read(packet, model, b, a); break;
                case 7: Copy(pool, ref packet, model, b, a); break;
                default: Linearize(packet); break;
            }
            var bytes = new byte[packet.PacketLength];
            packet.CopyTo(bytes);
            Assert.Equal(model, bytes);
            Assert.True(packet.Check(isPacket: true, out string? why), why);
        }
        packet.Free();
        Assert.Equal(200, pool.AvailableCount);
        pool.Audit();
        return true;
    }

    private static void Append(Mbuf packet, List<byte> model, int bytes, ref byte next)
    {
        bool room = packet.LastSegment.Tailroom >= bytes;
        Assert.Equal(room, packet.TryAppend(bytes, out Span<byte> added));
        foreach (ref byte b in added)
            model.Add(b = next++);
    }

    private static void Prepend(Mbuf packet, List<byte> model, int bytes, ref byte next)
    {
        bool room = packet.Headroom >= bytes;
        Assert.Equal(room, packet.TryPrepend(bytes, out Span<byte> added));
        added.Fill(next);
        model.InsertRange(0, added.ToArray());
        next++;
    }

    private static void Cut(bool possible, bool done, List<byte> model, int at, int bytes)
    {
        Assert.Equal(possible, done);
        if (done)
            model.RemoveRange(at, bytes);
    }

    private static void Chain(Mempool pool, Mbuf packet, List<byte> model, int bytes, ref byte next)
    {
        Mbuf tail = pool.Alloc();
        var added = new List<byte>();
        Append(tail, added, Math.Min(bytes, Room), ref next);
        Assert.True(packet.TryChain(tail));
        model.AddRange(added);
    }

    private static void Read(Mbuf packet, List<byte> model, int offset, int bytes)
    {
        bool inside = offset + bytes <= model.Count;
        byte* buffer = stackalloc byte[80];
        byte* at = packet.Read(offset, bytes, buffer);
        Assert.Equal(inside, at != null);
        Assert.Equal(inside, packet.TryRead(offset, bytes, new byte[80], out ReadOnlySpan<byte> data));
        if (!inside)
            return;
        Assert.Equal(model.GetRange(offset, bytes), new Span<byte>(at, bytes).ToArray());
        Assert.Equal(model.GetRange(offset, bytes), data.ToArray());
        Assert.True(!packet.IsContiguous || at != buffer);
    }

    private static void Copy(Mempool pool, ref Mbuf packet, List<byte> model, int offset, int bytes)
    {
        bool inside = offset <= model.Count;
        Assert.Equal(inside, packet.TryCopy(pool, offset, bytes * 4, out Mbuf copy));
        if (!inside)
            return;
        packet.Free();
        packet = copy;
        model.RemoveRange(0, offset);
        if (model.Count > bytes * 4)
            model.RemoveRange(bytes * 4, model.Count - (bytes * 4));
    }

    private static void Linearize(Mbuf packet)
    {
        bool room = packet.PacketLength - packet.DataLength <= packet.Tailroom || packet.IsContiguous;
        Assert.Equal(room, packet.TryLinearize());
        Assert.True(!room || packet.IsContiguous);
    }
}
