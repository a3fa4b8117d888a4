using System.Diagnostics;
using Dataplane.Native;
using Microsoft.Win32.SafeHandles;

namespace Dataplane.Tests;

/// <summary>af_xdp without privileges: what <c>dpctl xdp</c> does, and who then gets by with what.</summary>
public sealed class AfXdpRightsTests : IDisposable
{
    private static readonly string[] s_asNobody =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];

    private readonly string _folder = Directory.CreateTempSubdirectory("dataplane-xdp-").FullName;

    [Theory]
    [InlineData("drv")]
    [InlineData("skb")]
    public async Task Served_ForwardAsNobody_SendsBackWhatItReceives(string mode)
    {
        Host.Require("setpriv");
        string app = Path.Combine(AppContext.BaseDirectory, "Forward.dll");
        Assert.SkipUnless(Host.TryRun(s_asNobody[0], [.. s_asNobody[1..], "test", "-r", app]).Exit == 0,
            $"needs {app} readable by everyone: build the tree where others may read, or chmod o+rx its folders");
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        using Server server = Serve(a, "--mode", mode, "--user", "65534");
        Host.Run("chmod", "755", _folder);
        using var rig = new PortRig();
        Port port = rig.Start($"net_af_xdp0,iface={b},mode={mode}");
        using Process forward = AppProcess.StartAs(s_asNobody, "Forward", "--no-huge", "-l", AppProcess.Lcores(1),
            "--vdev", $"net_af_xdp0,iface={a},use_cni=1,dp_path={server.Path}", "--", "--forward-mode", "io",
            "--port-topology", "loop", "--total-num-mbufs", "1536", "--stats-period", "0");
        Task<string> errors = forward.StandardError.ReadToEndAsync();
        var back = new List<byte[]>();
        int sent = 0;
        // Until it runs, what is sent goes nowhere.
        Assert.True(SpinWait.SpinUntil(() =>
        {
            PortRig.SendAll(port.TxQueues[0], [rig.Packet(Frames.Numbered(sent++, 200))]);
            back.AddRange(PortRig.Collect(port.RxQueues, 1, seconds: 0.02));
            return back.Count >= 100 || forward.HasExited;
        }, TimeSpan.FromMinutes(2)), "nothing comes back");
        Assert.False(forward.HasExited, forward.HasExited ? await errors : "");
        Assert.All(back, frame => Assert.Equal(200, frame.Length));
        AppProcess.Signal(forward, AppProcess.SigKill);
        forward.WaitForExit();
        Assert.Equal("dataplane_xsk", AfXdpTests.ProgramOf(a));   // the server's, so it stays
        server.Stop();
        AfXdpTests.AssertNoProgram(a);
    }

    [Fact]
    public void Server_StrangeWords_AreToldNoAndItServesOn()
    {
        Host.Require();
        using var lab = new NetLab();
        (string a, _) = lab.AddVeth();
        using Server server = Serve(a);
        var random = new Random(5);
        for (int i = 0; i < 200; i++)
        {
            using var client = UnixSocket.Connect(server.Path, Socket.SOCK_SEQPACKET);
            var bytes = new byte[random.Next(1, 400)];
            random.NextBytes(bytes);
            client.Send(bytes, Socket.Fd(client.Handle));   // with a file it did not ask for
            if (i % 2 == 0)
                Assert.Equal("/nak", Hear(client, []));
        }
        var files = new List<SafeFileHandle>();
        using var last = UnixSocket.Connect(server.Path, Socket.SOCK_SEQPACKET);
        Assert.Equal("/host_ok", Ask(last, "/connect,somebody", files));
        Assert.Equal("/fd_nak", Ask(last, "/xsk_map_fd,other0", files));
        Assert.Empty(files);
        Assert.Equal("/fd_ack", Ask(last, $"/xsk_map_fd,{a}", files));
        Assert.Equal("/fd_ack", Ask(last, $"/xsk_fd,{a}", files));
        Assert.Equal(2, files.Count);
        Assert.Equal(Bpf.BPF_MAP_TYPE_XSKMAP, Bpf.MapInfo(files[0]).type);
        Assert.Equal("/fin_ack", Ask(last, "/fin", files));
        Assert.Equal("", Hear(last, files));
        files.ForEach(file => file.Dispose());
    }

    [Fact]
    public void PinnedMap_Loaded_ServesAPortAndGoesWithUnload()
    {
        Host.Require("mount");
        using var lab = new NetLab();
        (string a, string b) = lab.AddVeth();
        Host.Run("mount", "-t", "bpf", "bpf", _folder);
        try
        {
            string pin = Path.Combine(_folder, "x");
            AppResult load = AppProcess.Run("Dpctl", "xdp", "load", a, "--pin", pin);
            Assert.True(load.Exit == 0, load.All);
            using (var rig = new PortRig())
            {
                Port left = rig.Start($"net_af_xdp0,iface={b}");
                Port right = rig.Start($"net_af_xdp1,iface={a},use_pinned_map=1,dp_path={pin}/map");
                Assert.StartsWith("handed over", right.Info.Mode, StringComparison.Ordinal);
                byte[][] sent = [.. Enumerable.Range(0, 100).Select(i => Frames.Numbered(i, 60 + i))];
                Assert.Equal(sent, PortRig.Exchange(left.TxQueues[0], right.RxQueues,
                    [.. sent.Select(frame => rig.Packet(frame))]));
            }
            Assert.Equal("dataplane_xsk", AfXdpTests.ProgramOf(a));
            AppResult unload = AppProcess.Run("Dpctl", "xdp", "unload", a, "--pin", pin);
            Assert.True(unload.Exit == 0, unload.All);
            AfXdpTests.AssertNoProgram(a);
            Assert.False(Directory.Exists(pin));
        }
        finally
        {
            Host.Run("umount", _folder);
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Ask(UnixSocket socket, string request, List<SafeFileHandle> files)
    {
        socket.Send(System.Text.Encoding.ASCII.GetBytes(request));
        return Hear(socket, files);
    }

    private static string Hear(UnixSocket socket, List<SafeFileHandle> files)
    {
        var bytes = new byte[64];
        int count = -1;
        Assert.True(SpinWait.SpinUntil(() => (count = socket.Receive(bytes, files)) >= 0, TimeSpan.FromSeconds(60)));
        return System.Text.Encoding.ASCII.GetString(bytes, 0, count);
    }

    private Server Serve(string link, params string[] arguments) =>
        new(link, Path.Combine(_folder, "made", "too", "s"), arguments);

    /// <summary>A running <c>dpctl xdp serve</c>.</summary>
    private sealed class Server : IDisposable
    {
        private readonly Process _process;

        internal Server(string link, string path, string[] arguments)
        {
            Path = path;
            _process = AppProcess.Start("Dpctl", ["xdp", "serve", link, "--socket", path, .. arguments]);
            string? said = _process.StandardOutput.ReadLine();
            Assert.True(said?.Contains(path, StringComparison.Ordinal) == true,
                $"{said}\n{(said == null ? _process.StandardError.ReadToEnd() : "")}");
        }

        internal string Path { get; }

        internal void Stop()
        {
            AppProcess.Signal(_process, AppProcess.SigTerm);
            Assert.True(_process.WaitForExit(TimeSpan.FromMinutes(1)), "it does not end");
            Assert.Equal(0, _process.ExitCode);
            string made = System.IO.Path.GetFullPath(System.IO.Path.Combine(Path, "../.."));
            Assert.False(Directory.Exists(made), $"it left {made} behind");
        }

        public void Dispose()
        {
            if (!_process.HasExited)
                _process.Kill();
            _process.Dispose();
        }
    }
}
