"""How similarities are computed: blocks from co-moments or factors, best partners, sums for given pairs."""
