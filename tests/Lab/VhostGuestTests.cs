using System.Diagnostics;
using System.Text.Json;

namespace Dataplane.Tests;

/// <summary>A machine whose own kernel drives virtio-net against our vhost back end. Each pair of its NICs, each in a
/// namespace of its own, has no way to each other but out of the machine and through Forward.</summary>
public sealed class VhostGuestTests
{
    /// <summary>Split and packed rings with merged buffers and all offloads, then split and packed with none.</summary>
    private static readonly string[] s_pairs =
    [
        "virtio", "virtio-packed",
        "virtio,mrg_rxbuf=off,csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off",
        "virtio-packed,mrg_rxbuf=off,indirect_desc=off,event_idx=off,guest_tso4=off,guest_tso6=off",
    ];

    private const int TransferBytes = 4 << 20;

    // A transfer: the far end sends back what it was sent, and the near end compares.
    private const string InGuest = """
        set -euo pipefail
        PATH=/usr/sbin:/usr/bin:$PATH
        read -ra nics <<<"$LAB_NICS"
        for ((i = 0; i < ${#nics[@]}; i++)); do
          link=$(echo /sys/bus/pci/devices/${nics[i]}/virtio*/net/*) link=${link##*/} space=n$i
          ip netns add $space
          ip netns exec $space sysctl -qw net.ipv6.conf.{all,default}.disable_ipv6=1
          ip link set $link netns $space
          ip -n $space addr add 198.51.100.$((1 + i % 2))/24 dev $link
          ip -n $space link set $link up
          echo "nic $i: $(ip netns exec $space ethtool -k $link | grep -E '^(tx-checksumming|tcp-segm)' | tr '\n' ' ')"
        done
        for ((i = 0; i < ${#nics[@]}; i += 2)); do
          echo "pair $((i / 2)): $(ip netns exec n$i ping -q -c 20 -i 0.05 -W 30 198.51.100.2 | grep received)"
          ip netns exec n$((i + 1)) python3 -c '
        import socket
        with socket.create_server(("", 7000)) as server:
            peer, got = server.accept()[0], bytearray()
            while block := peer.recv(1 << 16):
                got += block
            peer.sendall(got)
        ' &
          ip netns exec n$i python3 -c '
        import os, socket, sys, time
        while True:
            try:
                peer = socket.create_connection(("198.51.100.2", 7000))
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        sent, back = os.urandom(int(sys.argv[2])), bytearray()
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        while block := peer.recv(1 << 16):
            back += block
        print("pair", sys.argv[1] + ":", "all back" if back == sent else "spoilt", len(back))
        ' $((i / 2)) BYTES
          wait
          for space in n$i n$((i + 1)); do
            seen=$(ip netns exec $space nstat -az TcpInCsumErrors TcpRetransSegs | tail -n 2 | tr -s ' \n' ' ')
            echo "pair $((i / 2)): $seen"
          done
        done
        """;

    /// <param name="rxInterrupts">Forward sleeps until the guest kicks; else it polls.</param>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Forward_BetweenTheGuestsNics_CarriesPingAndTcp(bool rxInterrupts)
    {
        LabRun.Require("6.12");
        Host.Require("python3");
        DirectoryInfo folder = Directory.CreateTempSubdirectory("dp-vhost-guest");
        string[] sockets = [.. Enumerable.Range(0, 2 * s_pairs.Length).Select(i => $"{folder.FullName}/{i}.sock")];
        string json = Path.Combine(folder.FullName, "report.json");
        using Process forward = AppProcess.Start("Forward", ["--no-huge", "--no-pci", "-m", "128", "-l",
            AppProcess.Lcores(1),   // the other CPU is the machine's
            .. sockets.SelectMany((path, i) => (string[])["--vdev", $"net_vhost{i},iface={path},tso=1"]),
            "--", "--stats-period", "0", "--json", json, .. (string[])(rxInterrupts ? ["--rx-interrupts"] : [])]);
        try
        {
            Assert.True(SpinWait.SpinUntil(() => forward.HasExited || sockets.All(File.Exists),
                TimeSpan.FromMinutes(1)), "Forward does not listen");
            using LabRun machine = await LabRun.StartAsync($"vhost-{(rxInterrupts ? "sleeping" : "polling")}", "run",
                ["--kernel", "6.12", "--iommu", "none", "--no-bind", "--cpus", "1", "--memory", "512", "--hugepages",
                    "0", "--timeout", "200", .. sockets.SelectMany((path, i) =>
                        (string[])["--nic", $"{s_pairs[i / 2]},vhost={path}"])],
                ["bash", "-c", InGuest.Replace("BYTES", $"{TransferBytes}", StringComparison.Ordinal)]);
            int exit = await machine.EndAsync();
            TestContext.Current.TestOutputHelper?.WriteLine(machine.Output + machine.Errors);
            Assert.Equal(0, exit);
            AssertAllArrived(machine);
        }
        finally
        {
            if (!forward.HasExited)
                AppProcess.Signal(forward, AppProcess.SigInt);
        }
        AppResult result = AppProcess.End(forward);
        TestContext.Current.TestOutputHelper?.WriteLine(result.All);
        AssertForwarded(result, JsonDocument.Parse(await File.ReadAllTextAsync(json)).RootElement);
        folder.Delete(recursive: true);
    }

    private static void AssertAllArrived(LabRun machine)
    {
        string output = machine.Output;
        for (int pair = 0; pair < s_pairs.Length; pair++)
        {
            Assert.Contains($"pair {pair}: 20 packets transmitted, 20 received", output, StringComparison.Ordinal);
            Assert.Contains($"pair {pair}: all back {TransferBytes}", output, StringComparison.Ordinal);
        }
        // The kernel agreed to what the device was to offer.
        foreach (int nic in (int[])[0, 1, 2, 3])
            Assert.Contains($"nic {nic}: tx-checksumming: on tcp-segmentation-offload: on", output,
                StringComparison.Ordinal);
        Assert.Contains("nic 4: tx-checksumming: off tcp-segmentation-offload: off", output, StringComparison.Ordinal);
        Assert.DoesNotMatch("TcpInCsumErrors [1-9]", output);
        string log = File.ReadAllText(Path.Combine(machine.Directory, "dmesg.log"));
        Assert.DoesNotContain("csum failure", log, StringComparison.Ordinal);
    }

    private static void AssertForwarded(AppResult result, JsonElement report)
    {
        (result, report).AssertAccounted();
        JsonElement[] ports = [.. report.GetProperty("ports").EnumerateArray()];
        for (int i = 0; i < ports.Length; i++)
        {
            Assert.InRange(ports[i].Long("rxBytes"), TransferBytes, long.MaxValue);
            Assert.Equal((0L, 0L), (ports[i].Long("rxErrors"), ports[i].Long("txErrors")));
        }
        // Superframes went through whole: with few packets for so many bytes.
        foreach (JsonElement port in ports[..4])
            Assert.InRange(port.Long("rxBytes") / port.Long("rxPackets"), 2000, 65_600);
    }
}
