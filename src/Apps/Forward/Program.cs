using Dataplane;
using Dataplane.Apps.Forward;

try
{
    bool isDemo = args is [] or ["--", ..];
    EalOptions ealOptions = EalOptions.Parse(args, out string[] own);
    if (ealOptions.Help || ealOptions.Version)
    {
        Console.WriteLine(ealOptions.Help ? EalOptions.HelpText
            : $"Dataplane {typeof(Eal).Assembly.GetName().Version}");
        if (ealOptions.Help)
            ForwardCommandLine.Parse(["--help"], out _);
        return 0;
    }
    ForwardOptions? options = ForwardCommandLine.Parse(own, out int exitCode);
    if (options == null)
        return exitCode;
    ForwardReport report = isDemo
        ? ForwardRun.Run(Demo.EalOptions(ealOptions), Demo.Options(options), isDemo: true)
        : ForwardRun.Run(ealOptions, options, isDemo: false);
    Display.PrintSummary(report, options);
    if (options.JsonPath != null)
        report.Save(options.JsonPath);
    return report.Accounted ? 0 : 2;
}
catch (DataplaneException e)
{
    Console.Error.WriteLine($"Forward: {e.Message}");
    return 1;
}
