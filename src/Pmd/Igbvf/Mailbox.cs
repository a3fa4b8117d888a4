using System.Diagnostics;

namespace Dataplane.Pmd;

/// <summary>
/// Asks the driver of the physical function for what a virtual one cannot do itself. One thread at a time.
/// </summary>
/// <param name="name">The port's name, for messages.</param>
/// <param name="registers">BAR 0.</param>
/// <param name="timeout">How long the other side may take.</param>
internal sealed class Mailbox(string name, Mmio registers, TimeSpan timeout)
{
    private const string Fix = "see that the physical function's driver is loaded and its interface is up "
        + "(ip link set NAME up)";
    private static readonly TimeSpan s_again = TimeSpan.FromSeconds(2.5);

    /// <summary>Waits until the physical function is not in reset.</summary>
    /// <exception cref="DeviceException">It stays there.</exception>
    internal void WaitForPhysical()
    {
        long start = Stopwatch.GetTimestamp();
        var spin = new SpinWait();      // soon it sleeps: the other side may need this CPU
        while (true)
        {
            uint state = registers.Read(IgbvfRegs.V2PMailbox);
            if (state != uint.MaxValue && (state & IgbvfRegs.MailboxInReset) == 0)
                return;
            if (Stopwatch.GetElapsedTime(start) > timeout)
                throw new DeviceException($"device '{name}': its physical function is not ready",
                    why: state == uint.MaxValue ? "the device does not answer: its registers read as all ones"
                        : $"it has been in reset for {timeout.TotalMilliseconds} ms (mailbox 0x{state:x})", fix: Fix);
            spin.SpinOnce();
        }
    }

    /// <summary>Sends a message and waits for the reply to it.</summary>
    /// <param name="message">1 to 16 words; in place of them comes the reply.</param>
    /// <returns>False when it was refused.</returns>
    /// <exception cref="DeviceException">No reply to it comes.</exception>
    internal bool Ask(Span<uint> message)
    {
        Span<uint> reply = stackalloc uint[IgbvfRegs.MailboxWords];
        uint kind = message[0] & MailboxMessage.Kind, last = 0;
        long start = Stopwatch.GetTimestamp();
        long posted = start;
        Post(message, start);
        var spin = new SpinWait();
        while (true)
        {
            if ((registers.Read(IgbvfRegs.V2PMailbox) & IgbvfRegs.MailboxStatus) == 0)
            {
                ThrowIfLate(start, message[0], last);
                // For 2 s after its own reset Linux's igb leaves what comes without any reply, then refuses it.
                if (Stopwatch.GetElapsedTime(posted) > s_again)
                {
                    posted = Stopwatch.GetTimestamp();
                    Post(message, start);
                }
                spin.SpinOnce();
                continue;
            }
            Read(reply, start);
            last = reply[0];
            const uint Result = MailboxMessage.Ack | MailboxMessage.Nack;
            if ((last & MailboxMessage.Kind) == kind && (last & Result) is MailboxMessage.Ack or MailboxMessage.Nack)
            {
                reply[..message.Length].CopyTo(message);
                return (last & MailboxMessage.Ack) != 0;
            }
            // A message of its own came over ours or over the reply; to ask twice does no harm.
            if ((last & MailboxMessage.Kind) == MailboxMessage.Control)
                Post(message, start);
            ThrowIfLate(start, message[0], last);
        }
    }

    /// <summary>Takes a message that was not asked for.</summary>
    /// <returns>Its first word, 0 where there is none.</returns>
    internal uint Take()
    {
        if ((registers.Read(IgbvfRegs.V2PMailbox) & IgbvfRegs.MailboxStatus) == 0)
            return 0;
        Span<uint> word = stackalloc uint[1];
        Read(word, Stopwatch.GetTimestamp());
        return word[0];
    }

    private void Post(ReadOnlySpan<uint> message, long start)
    {
        TakeMemory(start);          // and forgets what was told before: the memory is overwritten
        for (int i = 0; i < message.Length; i++)
            registers.Write(IgbvfRegs.Vmbmem(i), message[i]);
        Write(IgbvfRegs.MailboxRequest);        // and gives the memory back
    }

    private void Read(Span<uint> message, long start)
    {
        TakeMemory(start);
        for (int i = 0; i < message.Length; i++)
            message[i] = registers.Read(IgbvfRegs.Vmbmem(i));
        Write(IgbvfRegs.MailboxAck);
    }

    private void TakeMemory(long start)
    {
        var spin = new SpinWait();
        while (true)
        {
            Write(IgbvfRegs.MailboxMine);
            uint state = registers.Read(IgbvfRegs.V2PMailbox);
            if (state != uint.MaxValue && (state & IgbvfRegs.MailboxMine) != 0)
                return;
            if (Stopwatch.GetElapsedTime(start) > timeout)
                throw new DeviceException($"device '{name}': its mailbox is not to be had",
                    why: $"the physical function keeps it for more than {timeout.TotalMilliseconds} ms "
                        + $"(mailbox 0x{state:x})", fix: Fix);
            spin.SpinOnce();
        }
    }

    private void ThrowIfLate(long start, uint message, uint last)
    {
        if (Stopwatch.GetElapsedTime(start) > timeout)
            throw new DeviceException($"device '{name}': its physical function does not answer",
                why: $"{timeout.TotalMilliseconds} ms after message 0x{message:x} "
                    + (last == 0 ? "nothing has come" : $"no reply to it has come, but 0x{last:x}"), fix: Fix);
    }

    private void Write(uint bits) => registers.Write(new WoReg32(IgbvfRegs.V2PMailbox.Offset), bits);
}
