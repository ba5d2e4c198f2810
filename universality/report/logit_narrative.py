"""Logit-weight r in words: partners by logit weights, beside chance and ceilings, and how they compare with activation.

Two different numbers have two different chance levels. *Partners by logit weights* are the best of thousands, so their
r, on token types that did not choose them, stands beside nulls that choose too. *Partners by activation* were chosen by
something else, so the logit r of such a pair stands beside that of pairs drawn at random.
"""

from collections.abc import Sequence

from universality.formatting import count, fixed, interval, listed, percent
from universality.report.data import LEAST_DIFFERENCE, Headline, LogitRow
from universality.report.narrative import known


def logit_answer(headline: Headline, rows: Sequence[LogitRow]) -> str:
    """Write the paragraph on partners by logit weights; empty without any."""
    if not rows:
        return ""
    return " ".join(filter(None, (_median(headline, rows[0]), _ceilings(rows[1:]), same_partner(rows[0]))))


def _median(headline: Headline, row: LogitRow) -> str:
    """Compare the median of the page's comparison with both nulls."""
    a, b, summary = headline.model_a, headline.model_b, row.summary
    bounds = interval(*summary.median_ci)
    nulls = [
        f"{fixed(null.median)} with {_NULLS[name].format(b=b)} ({percent(null.share_significant)} of features have "
        f"q ≤ {summary.q_level:g})"
        for name, null in summary.nulls.items()
    ]
    return (
        f"Matched by logit weights on one half of the token types, features of {a} and {b} have a median r of "
        f"{fixed(summary.held_out_median)} on the other half"
        f"{f' (95% interval over token types {bounds})' if bounds else ''}."
        f"{f' The same matching by chance gives a median of {listed(nulls)}.' if nulls else ''}"
    )


_NULLS = {
    "vocabulary": "{b}'s token types exchanged within script and frequency",
    "directions": "random directions of the same mean and covariance in place of features",
}


def _ceilings(rows: Sequence[LogitRow]) -> str:
    """State the medians of two SAE seeds, and how many of their features agree more than random directions."""
    found = [(row.label, row.summary) for row in rows if row.role == "ceiling" and known(row.summary.held_out_median)]
    medians = [
        f"{label} {fixed(summary.held_out_median)} ({percent(summary.share_significant('directions'))} with "
        f"q ≤ {summary.q_level:g} against random directions)"
        for label, summary in found
    ]
    return f"For comparison: {listed(medians)}." if medians else ""


def same_partner(row: LogitRow) -> str:
    """State how often the partner by activation is that by logit weights, against chance; empty if never both."""
    same = row.same_partner
    if not same.n:
        return ""
    return (
        f"The partner by activation is the partner by logit weights for {percent(same.share, 1)} of the "
        f"{count(same.n)} features that have both (95% interval {percent(same.low, 1)} to {percent(same.high, 1)}); by "
        f"chance {percent(same.by_chance, 2)} for a partner drawn at random, and {percent(same.by_firings, 2)} for one "
        "drawn from the features that fire about as often."
    )


def logit_chance(rows: Sequence[LogitRow]) -> str:
    """Write what the logit r of one pair by activation is to be compared with; empty if that is not known."""
    if not rows or not known(rows[0].random_pairs_95):
        return ""
    ceilings = [
        f"{row.label} {fixed(row.pairs_median)}" for row in rows if row.role == "ceiling" and known(row.pairs_median)
    ]
    beside = f"; medians: {listed(ceilings)}" if ceilings else ""
    return f"95% of random pairs below {fixed(rows[0].random_pairs_95)}{beside}"


def logit_caveat(headline: Headline, rows: Sequence[LogitRow]) -> str:
    """Warn where partners by logit weights agree no more than random directions would; else empty."""
    if not rows or (null := rows[0].summary.nulls.get("directions")) is None:
        return ""
    median = rows[0].summary.held_out_median
    if not (known(median) and known(null.median) and median < null.median + LEAST_DIFFERENCE):
        return ""
    a, b = headline.model_a, headline.model_b
    return (
        f"By logit weights, features of {a} and their best partners in {b} are, to within {LEAST_DIFFERENCE}, no more "
        f"alike (median r {fixed(median)}) than they are to the best of as many random directions "
        f"({fixed(null.median)}): such an r shows that the two sides embed tokens alike, not that they have the same "
        "features."
    )
