using System.Globalization;
using System.Text;

namespace Dataplane.Apps.Throughput;

/// <summary>Two charts in one SVG: the rate over the frame size, and the latency percentiles over the frame size
/// (log scale).</summary>
internal static class SvgChart
{
    private const int Width = 720, PanelHeight = 300, Left = 70, Right = 110, Top = 46, Bottom = 40;
    private static readonly (string Name, string Colour, Func<Latencies, double> Of)[] s_lines =
    [
        ("p50", "#1b7837", l => l.P50), ("p90", "#7fbf7b", l => l.P90), ("p99", "#762a83", l => l.P99),
        ("p99.9", "#af8dc3", l => l.P999), ("p99.99", "#b35806", l => l.P9999),
    ];

    /// <summary>Draws a report.</summary>
    public static string Draw(ThroughputReport report)
    {
        FrameResult[] frames = [.. report.Frames.Where(frame => frame.Best != null)];
        var svg = new StringBuilder();
        svg.Append(string.Create(CultureInfo.InvariantCulture,
            $"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{Width}\" height=\"{2 * PanelHeight}\" "))
            .Append("font-family=\"sans-serif\" font-size=\"12\"><rect width=\"100%\" height=\"100%\" "
            + "fill=\"white\"/>\n");
        if (frames.Length > 0)
        {
            Rates(svg, report, frames);
            Percentiles(svg, frames);
        }
        return svg.Append("</svg>\n").ToString();
    }

    private static void Rates(StringBuilder svg, ThroughputReport report, FrameResult[] frames)
    {
        Text(svg, Left, 22, $"{report.Test}, {report.Path}, {string.Join(" ", report.Ports)}: Mpps by frame size",
            "start", "14");
        double top = Nice(frames.Max(frame => frame.Best!.SentPps / 1e6));
        for (int i = 0; i <= 5; i++)
            Grid(svg, 0, i / 5.0, (top * i / 5).ToString("G4", CultureInfo.InvariantCulture));
        double slot = PlotWidth / (double)frames.Length;
        for (int i = 0; i < frames.Length; i++)
        {
            double mpps = frames[i].Best!.SentPps / 1e6, height = mpps / top * PlotHeight, x = Left + slot * i;
            svg.Append(string.Create(CultureInfo.InvariantCulture, $"<rect x=\"{x + slot * 0.15:F1}\" "
                + $"y=\"{Y(0, mpps / top):F1}\" width=\"{slot * 0.7:F1}\" height=\"{height:F1}\" "
                + $"fill=\"#2166ac\"/>\n"));
            Text(svg, x + slot / 2, Y(0, mpps / top) - 4, mpps.ToString("F2", CultureInfo.InvariantCulture), "middle");
            Text(svg, x + slot / 2, Top + PlotHeight + 18, frames[i].Frame, "middle");
        }
    }

    private static void Percentiles(StringBuilder svg, FrameResult[] frames)
    {
        FrameResult[] timed = [.. frames.Where(frame => frame.Best!.Latency != null)];
        Text(svg, Left, PanelHeight + 22, "latency at that rate, µs (log scale)", "start", "14");
        if (timed.Length == 0)
            return;
        double low = Math.Floor(Math.Log10(Math.Max(0.01, timed.Min(frame => frame.Best!.Latency!.P50))));
        double high = Math.Max(low + 1, Math.Ceiling(
            Math.Log10(Math.Max(0.02, timed.Max(frame => frame.Best!.Latency!.P9999)))));
        for (double decade = low; decade <= high; decade++)
            Grid(svg, PanelHeight, (decade - low) / (high - low),
                Math.Pow(10, decade).ToString("G4", CultureInfo.InvariantCulture));
        double slot = PlotWidth / (double)timed.Length;
        double x(int i) => Left + slot * (i + 0.5);
        double y(double us) => Y(PanelHeight, (Math.Log10(Math.Max(us, Math.Pow(10, low))) - low) / (high - low));
        for (int i = 0; i < timed.Length; i++)
            Text(svg, x(i), PanelHeight + Top + PlotHeight + 18, timed[i].Frame, "middle");
        for (int line = 0; line < s_lines.Length; line++)
        {
            (string name, string colour, Func<Latencies, double> of) = s_lines[line];
            string points = string.Join(' ', timed.Select((frame, i) =>
                string.Create(CultureInfo.InvariantCulture, $"{x(i):F1},{y(of(frame.Best!.Latency!)):F1}")));
            svg.Append(string.Create(CultureInfo.InvariantCulture,
                $"<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"));
            foreach (string point in points.Split(' '))
                svg.Append(string.Create(CultureInfo.InvariantCulture, $"<circle cx=\"{point.Split(',')[0]}\" "
                    + $"cy=\"{point.Split(',')[1]}\" r=\"3\" fill=\"{colour}\"/>\n"));
            int legend = PanelHeight + Top + 16 * line;
            svg.Append(string.Create(CultureInfo.InvariantCulture,
                $"<rect x=\"{Width - Right + 16}\" y=\"{legend}\" width=\"12\" height=\"3\" fill=\"{colour}\"/>\n"));
            Text(svg, Width - Right + 34, legend + 6, name, "start");
        }
    }

    private static int PlotWidth => Width - Left - Right;

    private static int PlotHeight => PanelHeight - Top - Bottom;

    private static double Y(int panel, double share) => panel + Top + PlotHeight * (1 - share);

    private static void Grid(StringBuilder svg, int panel, double share, string label)
    {
        double y = Y(panel, share);
        svg.Append(string.Create(CultureInfo.InvariantCulture,
            $"<line x1=\"{Left}\" x2=\"{Width - Right}\" y1=\"{y:F1}\" y2=\"{y:F1}\" stroke=\"#ddd\"/>\n"));
        Text(svg, Left - 6, y + 4, label, "end");
    }

    private static void Text(StringBuilder svg, double x, double y, string text, string anchor, string size = "12") =>
        svg.Append(string.Create(CultureInfo.InvariantCulture,
        $"<text x=\"{x:F1}\" y=\"{y:F1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">"))
            .Append(System.Security.SecurityElement.Escape(text)).Append("</text>\n");

    /// <summary>The next of 1, 2, 2.5, 5, 10 times a power of ten.</summary>
    private static double Nice(double value)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(Math.Max(value, 1e-6))));
        return new[] { 1, 2, 2.5, 5, 10 }.First(step => step * power >= value * 1.05 || step == 10) * power;
    }
}
