using Dataplane.Pmd;

namespace Dataplane.Tests;

/// <summary>Devices that listen at a Unix socket, where they cannot.</summary>
public sealed class SocketDeviceTests
{
    [Theory]
    [InlineData("net_vhost0,iface=PATH")]
    [InlineData("net_virtio_user0,path=PATH,server=1")]
    [InlineData("net_memif0,role=server,socket-abstract=no,socket=PATH")]
    public void Listen_WhereNobodyMay_SaysWhatWhyAndWhatToDo(string device)
    {
        using var rig = new DriverRig(Drivers.All, [], TimeSpan.FromMilliseconds(600));
        // Nobody makes sockets in sysfs, not even root; nobody has the second folder; and the last path is taken.
        string file = Path.GetTempFileName();
        foreach ((string path, string why, string fix) in ((string, string, string)[])
        [
            ("/sys/dp.sock", "may make no socket in /sys", "a directory of your own"),
            ("/nowhere/at/all/dp.sock", "/nowhere/at/all is no directory", "mkdir -p /nowhere/at/all"),
            (file, "another process listens there, or it is a file of another kind", "choose another path"),
        ])
        {
            for (int attempt = 0; attempt < 2; attempt++)
            {
                DeviceException e = Assert.Throws<DeviceException>(() =>
                {
                    Port port = rig.Ports.Attach(device.Replace("PATH", path, StringComparison.Ordinal));
                    try
                    {
                        port.Configure(new PortConfig());
                    }
                    catch (DeviceException)
                    {
                        // A second time it must fail too.
                        Assert.Throws<DeviceException>(() => port.Configure(new PortConfig()));
                        rig.Ports.Detach(port);
                        throw;
                    }
                });
                Assert.Contains($"device '{device.Split(',')[0]}': cannot listen at {path}", e.What,
                    StringComparison.Ordinal);
                Assert.Contains(why, e.Why, StringComparison.Ordinal);
                Assert.Contains(fix, e.Fix, StringComparison.Ordinal);
            }
        }
        File.Delete(file);
    }
}
