using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Pmd;

/// <summary>Memory of buffers in flight, which the front end keeps for whoever comes after us.</summary>
internal sealed unsafe partial class VhostSession
{
    private byte* _inflight;
    private nuint _inflightMapped;
    private VhostInflightDescription _inflightIs;

    private void GetInflight()
    {
        var wanted = _channel.Read<VhostInflightDescription>();
        wanted.FileOffset = 0;
        wanted.Bytes = InflightBytes(wanted);
        using SafeFileHandle file = Mman.memfd_create("dataplane:vhost-inflight", Mman.MFD_CLOEXEC
            | Mman.MFD_ALLOW_SEALING);
        if (file.IsInvalid || Fcntl.ftruncate(file, (long)wanted.Bytes) != 0)
            throw NativeException.FromErrno("memfd_create of in-flight memory");
        Adopt(wanted, file);
        Reply(wanted, Socket.Fd(file));
    }

    private void SetInflight()
    {
        var given = _channel.Read<VhostInflightDescription>();
        using SafeFileHandle file = _channel.TakeFile();
        if (given.FileOffset % VhostUser.InflightAlignment != 0 || given.Bytes < InflightBytes(given)
            || given.Bytes > long.MaxValue / 4 || given.FileOffset > long.MaxValue / 4)
            throw VhostChannel.Broken($"{given.Bytes} bytes of in-flight memory for {given.Queues} rings");
        Adopt(given, file);
    }

    private ulong InflightBytes(in VhostInflightDescription of)
    {
        if (of.Queues == 0 || of.Queues > _vrings.Length || of.QueueSize is 0 or > MaxRingSize)
            throw VhostChannel.Broken($"in-flight memory for {of.Queues} rings of {of.QueueSize}");
        return of.Queues * BytesOf(of.QueueSize);
    }

    private ulong BytesOf(int size) => IsPacked ? PackedInflight.Bytes(size) : SplitInflight.Bytes(size);

    private void Adopt(in VhostInflightDescription what, SafeFileHandle file)
    {
        byte* at = VhostMemory.MapFile(file, what.FileOffset + what.Bytes, out bool isSealed, out nuint mapped);
        if (!isSealed && _port.Options.Sealed)
        {
            _ = Mman.munmap(at, mapped);
            throw NotSealed();
        }
        DeactivateAll();
        CloseInflight();
        _inflight = at;
        (_inflightMapped, _inflightIs) = (mapped, what);
        ActivateAll();
    }

    private byte* InflightOf(VhostVring vring)
    {
        ulong stride = BytesOf(Math.Max(1, (int)_inflightIs.QueueSize));
        return _inflight != null && vring.Index < _inflightIs.Queues && vring.Size <= _inflightIs.QueueSize
            && stride * _inflightIs.Queues <= _inflightIs.Bytes
            ? _inflight + _inflightIs.FileOffset + (ulong)vring.Index * stride : null;
    }

    private void CloseInflight()
    {
        if (_inflight != null)
            _ = Mman.munmap(_inflight, _inflightMapped);
        _inflight = null;
    }
}
