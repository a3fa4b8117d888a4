// One line from every lcore. Try: HelloWorld -l 0,1   or, on any machine, HelloWorld -l "0-3@0"
using Dataplane;

try
{
    EalOptions options = EalOptions.Parse(args, out _);
    if (options.Help)
    {
        Console.Write(EalOptions.HelpText);
        return 0;
    }
    using Eal eal = Eal.Initialize(options);
    eal.LaunchAll(lcore =>
    {
        Console.WriteLine($"hello from lcore {lcore.Id} ({lcore.Role}) on CPU {Lcore.CurrentCpu}, NUMA node "
            + $"{lcore.NumaNode}");
        return 0;
    });
    eal.WaitAll();
    return 0;
}
catch (DataplaneException e)
{
    Console.Error.WriteLine(e.Message);
    return 1;
}
