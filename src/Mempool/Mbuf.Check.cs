using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace Dataplane;

public readonly unsafe partial struct Mbuf
{
    /// <summary>Checks that the mbuf makes sense. Control path or debugging.</summary>
    /// <param name="isPacket">True for a packet's first segment: the whole chain is checked then.</param>
    /// <param name="reason">What is wrong, or null.</param>
    public bool Check(bool isPacket, [NotNullWhen(false)] out string? reason)
    {
        reason = CheckSegment();
        if (reason == null && isPacket)
            reason = CheckChain();
        return reason == null;
    }

    private string? CheckSegment()
    {
        if (Header == null)
            return "mbuf is null";
        if (Header->Pool == null)
            return "bad mbuf pool: null";
        if (Header->BufAddr == null)
            return "bad virtual address: null";
        if (Header->BufIova == 0)
            return "bad IOVA: 0";
        if (Header->RefCnt is 0 or ushort.MaxValue)
            return string.Create(CultureInfo.InvariantCulture, $"bad reference count: {Header->RefCnt}");
        if (Header->DataOff > Header->BufLen)
            return Text("data offset too big", Header->DataOff, "the buffer has", Header->BufLen);
        if (Header->DataOff + Header->DataLen > Header->BufLen)
            return Text("data length too big", Header->DataLen, "after the offset the buffer has",
                Header->BufLen - Header->DataOff);
        return null;
    }

    private string? CheckChain()
    {
        if (Header->DataLen > Header->PktLen)
            return Text("bad data length", Header->DataLen, "the packet has", Header->PktLen);
        uint segments = 0, bytes = 0;
        for (MbufHeader* m = Header; m != null; m = m->Next)
        {
            if (segments == Header->NbSegs)
                return Text("bad number of segments", Header->NbSegs, "the chain goes on after", segments);
            if (segments != 0 && new Mbuf(m).CheckSegment() is string wrong)
                return string.Create(CultureInfo.InvariantCulture, $"segment {segments}: {wrong}");
            segments++;
            bytes += m->DataLen;
        }
        if (segments != Header->NbSegs)
            return Text("bad number of segments", Header->NbSegs, "the chain has", segments);
        return bytes == Header->PktLen ? null : Text("bad packet length", Header->PktLen, "its segments have", bytes);
    }

    private static string Text(string what, long value, string limit, long limitValue) =>
        string.Create(CultureInfo.InvariantCulture, $"{what}: {value}, {limit} {limitValue}");

    /// <summary>The packet as text: metadata, segments, and its first bytes. Control path or debugging.</summary>
    /// <param name="bytes">How many bytes of data to show.</param>
    public string Dump(int bytes = 64)
    {
        var text = new StringBuilder();
        CultureInfo c = CultureInfo.InvariantCulture;
        text.Append(c, $"mbuf 0x{(nint)Header:x} of '{MempoolHeader.NameOf((MempoolHeader*)Header->Pool)}': ");
        text.Append(c, $"{Header->PktLen} bytes in {Header->NbSegs} segments, port {Header->Port}, ");
        text.Append(c, $"{Dataplane.PacketType.GetName(Header->PacketType)}, ");
        text.Append(c, $"flags {MbufFlagNames.GetNames(Header->OlFlags)}\n");
        int left = bytes;
        for (MbufHeader* m = Header; m != null; m = m->Next)
        {
            var segment = new Mbuf(m);
            text.Append(c, $"  segment 0x{(nint)m:x}: {m->DataLen} bytes at 0x{(nint)(m->BufAddr + m->DataOff):x}, ");
            text.Append(c, $"headroom {segment.Headroom}, tailroom {segment.Tailroom}, {m->RefCnt} owners\n");
            int show = Math.Min(left, (int)m->DataLen);
            for (int at = 0; at < show; at += 16)
                text.Append(c, $"    {at:x4}  {Convert.ToHexStringLower(segment.Data[at..Math.Min(at + 16, show)])}\n");
            left -= show;
        }
        return text.ToString();
    }
}
