"""Defaults that the configuration's sections and the functions behind them share: each number stands here alone."""

# Nulls and intervals (``statistics:`` in YAML; `universality.calibrate`)
REPLICATES = 5
"""Null scores are pooled over the 32 features or more of a class, so that five replicates give 160 or more; each is a
matching, which is what a comparison costs."""
RESAMPLES = 200
"""The 95% quantile of 200 draws is known to within 1.5 points of coverage; more change the third digit of a bound."""
ALPHA = 0.05
MIN_FIRINGS = 10
"""r of rarer features is a matter of single tokens."""
N_STRATA = 8

# Families (``families:`` in YAML; `universality.families`)
FAMILY_REPLICATES = 2
"""Counts of edges are sums over thousands of pairs: two replicates agree to a few of them."""
FAMILY_RESAMPLES = 100
"""Support is a share read to two digits."""
MIN_COVERAGE = 0.2
MIN_MASKED_COSINE = 0.4
MIN_DECODER_COSINE = 0.3
MIN_RECOVERED = 0.0
