namespace Dataplane.Pmd;

/// <summary>PHY, link, flow control, LED.</summary>
internal sealed partial class IntelDevice
{
    private const int MdioTimeoutUs = 20_000;
    private const uint PhyAddress = 1;
    private static readonly uint[] s_speeds = [10, 100, 1000, 1000];

    private uint? _ledBefore;
    private FlowControl _wanted = new(true, true);

    /// <summary>Takes MDIO, which firmware uses too. Returns false when firmware does not give it up.</summary>
    internal Func<bool>? TakePhy { get; set; }

    /// <summary>Gives MDIO back.</summary>
    internal Action? GivePhy { get; set; }

    /// <summary>The PHY is powered down by <see cref="SetLink"/>.</summary>
    internal bool IsLinkOff { get; private set; }

    /// <summary>The link. 82574 10.2.2.2.</summary>
    internal LinkStatus GetLink()
    {
        uint status = Registers.Read(IntelRegs.Status);
        if (status == uint.MaxValue || (status & IntelRegs.StatusLinkUp) == 0 || IsLinkOff)
            return new LinkStatus(false);
        return new LinkStatus(true, s_speeds[status >> IntelRegs.StatusSpeedShift & 3],
            (status & IntelRegs.StatusFd) != 0, Autonegotiated: true);
    }

    /// <summary>Has the MAC follow the PHY, and the PHY find a link where it has none. 82574 10.2.2.1.</summary>
    internal void StartLink()
    {
        uint control = Registers.Read(IntelRegs.Ctrl);
        control &= ~(IntelRegs.CtrlForceSpeed | IntelRegs.CtrlForceDuplex);
        Registers.Write(IntelRegs.Ctrl, control | IntelRegs.CtrlSetLinkUp | IntelRegs.CtrlFd);
        ushort advertised = Advertisement(ReadPhy(PhyRegs.Advertise), _wanted);
        // A reset of the MAC leaves the PHY's link as it is; half a second or more is saved by not breaking it.
        if (!GetLink().Up || ReadPhy(PhyRegs.Advertise) != advertised)
            Renegotiate(advertised);
    }

    /// <summary>Powers the PHY down, or up to find a link.</summary>
    internal void SetLink(bool up)
    {
        if (up == !IsLinkOff)
            return;
        IsLinkOff = !up;
        ushort control = ReadPhy(PhyRegs.Control);
        if (up)
        {
            WritePhy(PhyRegs.Control, (ushort)(control & ~PhyRegs.ControlPowerDown));
            StartLink();
        }
        else
            WritePhy(PhyRegs.Control, (ushort)(control | PhyRegs.ControlPowerDown));
    }

    /// <summary>Sets up pause frames and when they are sent.</summary>
    /// <param name="bufferBytes">Receive packet buffer.</param>
    /// <param name="frameBytes">Longest frame.</param>
    internal void SetPauseThresholds(int bufferBytes, int frameBytes)
    {
        Registers.Write(IntelRegs.Fcal, 0x00c28001);      // 01:80:c2:00:00:01, EtherType 8808: IEEE 802.3 annex 31B
        Registers.Write(IntelRegs.Fcah, 0x0100);
        Registers.Write(IntelRegs.Fct, 0x8808);
        Registers.Write(IntelRegs.Fcttv, 0x0680);
        // Room for two frames that are under way when the far end is told.
        int high = Math.Min(bufferBytes * 9 / 10, Math.Max(bufferBytes - 2 * frameBytes, bufferBytes / 4)) & ~15;
        Registers.Write(IntelRegs.Fcrth, (uint)high);
        Registers.Write(IntelRegs.Fcrtl, (uint)(high - 16) | IntelRegs.FcrtlXonEnable);
    }

    /// <summary>Pause frames in force.</summary>
    internal FlowControl GetFlowControl()
    {
        uint control = Registers.Read(IntelRegs.Ctrl);
        return new FlowControl((control & IntelRegs.CtrlRxPause) != 0, (control & IntelRegs.CtrlTxPause) != 0,
            _wanted.Autonegotiate);
    }

    /// <summary>Sets pause frames: at once, or as agreed with the far end in a new negotiation.</summary>
    internal void SetFlowControl(FlowControl control)
    {
        _wanted = control;
        ushort before = ReadPhy(PhyRegs.Advertise), advertised = Advertisement(before, control);
        if (advertised != before)
            Renegotiate(advertised);
        if (!control.Autonegotiate)
            ApplyPause(control.Receive, control.Transmit);
    }

    /// <summary>After a link came up: applies what was agreed on pause frames. IEEE 802.3 annex 28B.</summary>
    internal void ResolvePause()
    {
        if (!_wanted.Autonegotiate)
        {
            ApplyPause(_wanted.Receive, _wanted.Transmit);
            return;
        }
        int ours = ReadPhy(PhyRegs.Advertise), theirs = ReadPhy(PhyRegs.PartnerAbility);
        bool symmetric = (ours & theirs & PhyRegs.Pause) != 0;
        bool asymmetric = (ours & theirs & PhyRegs.AsymmetricPause) != 0;
        bool transmit = symmetric || asymmetric && (theirs & PhyRegs.Pause) != 0;
        bool receive = symmetric || asymmetric && (ours & PhyRegs.Pause) != 0;
        ApplyPause(receive && _wanted.Receive, transmit && _wanted.Transmit);
    }

    /// <summary>Blinks LED 0, or gives it back what it showed.</summary>
    internal void SetLed(bool on)
    {
        uint now = Registers.Read(IntelRegs.Ledctl);
        _ledBefore ??= now;
        Registers.Write(IntelRegs.Ledctl,
            on ? now & ~IntelRegs.LedMask | IntelRegs.LedModeOn | IntelRegs.LedBlink : _ledBefore.Value);
    }

    /// <summary>Reads a register of the PHY. 82574 10.2.2.7.</summary>
    internal ushort ReadPhy(int register) => (ushort)Mdio(IntelRegs.MdicRead, register, 0);

    private void WritePhy(int register, ushort value) => Mdio(IntelRegs.MdicWrite, register, value);

    private uint Mdio(uint operation, int register, ushort value)
    {
        if (TakePhy?.Invoke() == false)
            throw new DeviceException($"device '{name}': firmware does not give up MDIO",
                why: "its hold on the interface of the PHY did not end in time", fix: "a cold start resets firmware");
        try
        {
            Registers.Write(IntelRegs.Mdic, operation | value | (uint)register << IntelRegs.MdicRegisterShift
                | PhyAddress << IntelRegs.MdicPhyShift);
            Registers.PollUntil(IntelRegs.Mdic, IntelRegs.MdicReady, IntelRegs.MdicReady, MdioTimeoutUs);
            uint result = Registers.Read(IntelRegs.Mdic);
            if ((result & IntelRegs.MdicError) != 0)
                throw new DeviceException($"device '{name}': its PHY has no register {register}",
                    why: $"MDIC reports an error (0x{result:x})");
            return result;
        }
        finally
        {
            GivePhy?.Invoke();
        }
    }

    private void Renegotiate(ushort advertised)
    {
        WritePhy(PhyRegs.Advertise, advertised);
        if (IsLinkOff)
            return;         // SetLink goes on from here
        ushort control = (ushort)(ReadPhy(PhyRegs.Control) & ~PhyRegs.ControlPowerDown);
        WritePhy(PhyRegs.Control,
            (ushort)(control | PhyRegs.ControlAutonegotiate | PhyRegs.ControlRestart));
    }

    private void ApplyPause(bool receive, bool transmit)
    {
        uint control = Registers.Read(IntelRegs.Ctrl) & ~(IntelRegs.CtrlRxPause | IntelRegs.CtrlTxPause);
        Registers.Write(IntelRegs.Ctrl, control | (receive ? IntelRegs.CtrlRxPause : 0)
            | (transmit ? IntelRegs.CtrlTxPause : 0));
    }

    // Receive alone is advertised as both: the far end must be allowed to send, and is never sent any.
    private static ushort Advertisement(ushort register, FlowControl wanted) => (ushort)(register
        & ~(PhyRegs.Pause | PhyRegs.AsymmetricPause)
        | (wanted.Receive ? PhyRegs.Pause | PhyRegs.AsymmetricPause : wanted.Transmit ? PhyRegs.AsymmetricPause : 0));
}
