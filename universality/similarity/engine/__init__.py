"""Engine of similarities: blocks from co-moments or factors, best partners, sums for given pairs."""
