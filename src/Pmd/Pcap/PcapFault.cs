namespace Dataplane.Pmd;

/// <summary>What is wrong with a file.</summary>
internal enum PcapFault
{
    None,
    Unreadable,
    NoMagic,
    Compressed,
    Version,
    LinkType,
    Truncated,
    RecordTooLong,
    BlockLength,
    TrailingLength,
    ByteOrder,
    OptionLength,
    TooManyInterfaces,
    UnknownInterface,
}

/// <summary>Faults in words.</summary>
internal static class PcapFaults
{
    /// <summary>The exception for a file that cannot be used.</summary>
    /// <param name="device">The port's name.</param>
    /// <param name="path">The file.</param>
    /// <param name="offset">Where in it, bytes.</param>
    /// <param name="fault">What is wrong there.</param>
    internal static ConfigException Error(string device, string path, long offset, PcapFault fault) =>
        new($"device '{device}': file '{path}' cannot be used", $"at offset {offset}: {Describe(fault)}", fault switch
        {
            PcapFault.Compressed => $"unpack it first: gunzip '{path}'",
            PcapFault.NoMagic => "give a file written by tcpdump, dumpcap or Wireshark",
            PcapFault.LinkType => "use a capture of an Ethernet interface",
            PcapFault.Truncated or PcapFault.RecordTooLong or PcapFault.BlockLength or PcapFault.TrailingLength =>
                $"save what is good: editcap '{path}' good.pcap",
            _ => null,
        });

    private static string Describe(PcapFault fault) => fault switch
    {
        PcapFault.Unreadable => "the file cannot be read",
        PcapFault.NoMagic => "this is neither pcap nor pcapng",
        PcapFault.Compressed => "this is a compressed file",
        PcapFault.Version => "this version of the format is unknown",
        PcapFault.LinkType => "the packets are no Ethernet frames",
        PcapFault.Truncated => "the file ends within a record",
        PcapFault.RecordTooLong => $"a record claims more than {PcapWire.MaxCaptureBytes} bytes",
        PcapFault.BlockLength => "a block's length does not fit what is in it",
        PcapFault.TrailingLength => "a block's two lengths differ",
        PcapFault.ByteOrder => "a section has no byte-order mark",
        PcapFault.OptionLength => "an option is longer than its block",
        PcapFault.TooManyInterfaces => $"a section has more than {PcapWire.MaxInterfaces} interfaces",
        PcapFault.UnknownInterface => "a packet's interface is not described before it",
        _ => fault.ToString(),
    };
}
