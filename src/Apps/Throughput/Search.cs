namespace Dataplane.Apps.Throughput;

/// <summary>Finds the highest rate without loss. RFC 2544 §26.1.</summary>
internal static class Search
{
    /// <summary>
    /// Tries as fast as it goes first; if that loses packets, halves the interval between the highest rate that
    /// passed and the lowest that did not until it is narrower than <paramref name="resolutionPercent"/> of the first.
    /// </summary>
    /// <param name="maxPps">The rate to start from, packets per second and direction; 0 for as fast as it
    /// goes.</param>
    /// <param name="resolutionPercent">0.1 to 50.</param>
    /// <param name="directions">How many ways packets go at once; a trial's own rates are those of all
    /// together.</param>
    /// <param name="run">Runs one trial at a rate per direction; null when the search is to end.</param>
    /// <param name="passes">Whether a trial is good enough.</param>
    /// <returns>All trials in order, and the best that passed.</returns>
    public static (IReadOnlyList<Trial> Trials, Trial? Best) ZeroLoss(double maxPps, double resolutionPercent,
        int directions, Func<double, Trial?> run, Func<Trial, bool> passes)
    {
        var trials = new List<Trial>();
        if (run(maxPps) is not { } first)
            return (trials, null);
        trials.Add(first);
        if (passes(first))
            return (trials, first);
        double low = 0, high = first.SentPps / directions, step = high * resolutionPercent / 100;
        Trial? best = null;
        while (high - low > step && high > 1)
        {
            if (run((low + high) / 2) is not { } trial)
                break;
            trials.Add(trial);
            if (passes(trial))
                (low, best) = ((low + high) / 2, trial);
            else
                high = (low + high) / 2;
        }
        return (trials, best);
    }
}
