"""The answer in words. Every sentence follows from the numbers, whichever way they fall.

Medians and shares count every living feature; a feature without a score lies below every score, and the number of
scored features stands beside the median. Two medians *differ* if they are ``LEAST_DIFFERENCE`` or more apart and
neither their intervals over features nor those over works overlap, where both are known.

The verdict depends on the share of A's living features whose partner has a held-out r of at least 0.5: "Largely yes"
from one half, "In part" from one fifth, "Mostly not" below. It is "No" where the median r is no larger than 95% of the
null's scores. It is "No answer" where half of the features or more fire too rarely to be scored, unless the others
suffice for "Largely yes": the unscored features could decide.
"""

import math
from collections.abc import Sequence

from universality.formatting import count, counts, fixed, interval, listed, of_all, percent, plural
from universality.report import published_concepts as published
from universality.report.data import (
    LEAST_DIFFERENCE,
    ConceptRow,
    Headline,
    LanguageModels,
    Population,
    WidthRow,
)
from universality.statistics.concept_partners import KNOWS

LARGELY, PARTLY = 0.5, 0.2
"""Shares of features with a partner from which the verdict is "Largely yes" and "In part"."""
TOO_MANY_UNSCORED = 0.5
HARDLY_BETTER = 0.2
"""Nats a token: models that beat a bigram table by less have learnt little else."""


def known(value: float | None) -> bool:
    """Return whether a number is neither None, NaN nor infinite."""
    return value is not None and math.isfinite(value)


def differ(x: Population, y: Population) -> bool:
    """Return whether two medians differ, by the rule at the head of this module."""
    if abs(x.median - y.median) < LEAST_DIFFERENCE:
        return False
    return _apart(x.low, x.high, y.low, y.high) and _apart(x.low_works, x.high_works, y.low_works, y.high_works)


def _apart(low: float, high: float, other_low: float, other_high: float) -> bool:
    """Return whether two intervals do not overlap, or one of them is not known."""
    if not all(map(known, (low, high, other_low, other_high))):
        return True
    return low > other_high or other_low > high


def intervals(population: Population) -> str:
    """Format the 95% intervals of a median, each with what was resampled; empty without any."""
    over = [
        (interval(population.low, population.high), "features"),
        (interval(population.low_works, population.high_works), plural(population.n_works, "work")),
    ]
    parts = [f"over {what} {bounds}" for bounds, what in over if bounds]
    return f"95% interval {', '.join(parts)}" if parts else ""


def difference(x: float, y: float) -> str:
    """Format x - y as the reader computes it from the two printed numbers."""
    return fixed(round(x, 2) - round(y, 2))  # 0.404 - 0.396 is printed as 0.40 - 0.40, so the difference is 0.00


def median_of(population: Population, digits: int = 2, more: str = "") -> str:
    """Format a median with the number of scored features: ``a median of 0.60 (2,024 of 2,047 scored)``."""
    scored = of_all(population.n_scored, population.n)
    if not known(population.median):
        return f"no median, since at most half have a score ({scored})"
    return f"a median of {fixed(population.median, digits)} ({scored}{more})"


def question(headline: Headline) -> str:
    """State the question that the page answers."""
    if headline.seeds_of is not None:
        which = headline.unlike or "differ in their seed"
        return f"Do two sparse autoencoders of {headline.seeds_of}, which {which}, find the same features?"
    if not headline.apart:
        return f"Do {headline.model_a} and {headline.model_b} have the same features?"
    return "Do two networks trained apart learn the same features?"


def verdict(headline: Headline) -> str:
    """Answer the question in three words or fewer."""
    features, null = headline.of("features"), headline.of("null")
    if features is None:
        return "No answer"
    if null is not None and features.median <= null.quantile_95:
        return "No"
    share = features.shares[0]
    if share < LARGELY and features.unknown >= TOO_MANY_UNSCORED:
        return "No answer"
    return "Largely yes" if share >= LARGELY else "In part" if share >= PARTLY else "Mostly not"


def answer(headline: Headline) -> tuple[str, ...]:
    """Write the paragraphs that follow the verdict."""
    features = headline.of("features")
    if features is None:
        return (
            "This run cannot answer the question: no pair of features could be scored on held-out text. The warnings "
            "below say what was missing.",
        )
    baselines = " ".join(filter(None, (_neurons(headline, features), _ceiling(headline, features))))
    first = f"{_shares(headline, features)} {_chance(headline, features)}"
    return tuple(filter(None, (first, baselines, _optimism(headline, features), _published(headline))))


def _shares(headline: Headline, features: Population) -> str:
    a, b = headline.model_a, headline.model_b
    bounds = intervals(features)
    other = f" ({count(headline.width_b)} wide)" if headline.width_b else ""
    return (
        f"Of the {plural(features.n, 'living feature')} of {a} ({count(headline.width)} wide), "
        f"{percent(features.shares[0])} have a partner in {b}{other} with r ≥ 0.5 and "
        f"{percent(features.shares[1])} one with r ≥ 0.7, on {plural(headline.n_tokens, 'held-out token')} that were "
        "not used to choose partners. "
        f"Their best-match r has {median_of(features, more=f'; {bounds}' if bounds else '')}."
        f"{_too_rare(features)}"
    )


def _too_rare(features: Population) -> str:
    if features.unknown < TOO_MANY_UNSCORED:
        return ""
    return (
        f" {percent(features.unknown)} fire too rarely on this text to be scored, so the shares are lower bounds; more "
        "text would decide."
    )


def _chance(headline: Headline, features: Population) -> str:
    null = headline.of("null")
    if null is None:
        return "No null was run, so the result cannot be compared with chance."
    of_kind = "" if headline.summary.first_null == "global" else " of the same kind"
    replicates = plural(headline.summary.null.replicates, "replicate")
    chance = (
        f"By chance, that is with the same matching on unrelated text{of_kind} ({replicates}), the median is "
        f"{fixed(null.median, 3)} and 95% of pairs lie below {fixed(null.quantile_95, 3)}"
        f"{'' if null.shares[0] else '; none reaches 0.5'}."
    )
    if features.median <= null.quantile_95:
        chance += " The median feature is no more similar to its partner than that."
    if not known(headline.summary.null.share_significant):
        return chance
    return f"{chance} {_significant(headline, features)}"


def _significant(headline: Headline, features: Population) -> str:
    summary, a = headline.summary, headline.model_a
    share, within_kinds = summary.null.share_significant, summary.share_significant("kind")
    beaten = f"{percent(share)} of {a}'s living features have a partner that beats chance at q ≤ {summary.q_level:g}"
    if share >= LARGELY and features.shares[0] < LARGELY:
        beaten += "; with this much text that is a low bar, which weak resemblance passes too"
    if summary.first_null == "global" and known(within_kinds):
        return f"{beaten}, and {percent(within_kinds)} have one that beats unrelated text of the same kind."
    return f"{beaten}."


def _neurons(headline: Headline, features: Population) -> str:
    neurons = headline.of("neurons")
    if headline.seeds_of is not None:
        return ""  # both dictionaries are of one model, whose units match themselves
    if neurons is None:
        units = headline.units[0].upper() + headline.units[1:]
        return f"{units} were not stored, so there is no baseline of the models' own units."
    start = f"Matched the same way, the models' own {headline.units} reach {median_of(neurons)}"
    if not _have_medians(features, neurons):
        return f"{start}."
    if not differ(features, neurons):
        return (
            f"{start}: features are about as similar across models as {headline.units}, so the dictionaries bring no "
            "gain here."
        )
    if features.median > neurons.median:
        return f"{start}, {difference(features.median, neurons.median)} less than features."
    return (
        f"{start}, {difference(neurons.median, features.median)} more than features: here the dictionaries' features "
        "are less similar across models than the units that they were built from."
    )


def _ceiling(headline: Headline, features: Population) -> str:
    ceilings = headline.of_all("ceiling")
    if headline.seeds_of is not None and headline.unlike:
        return (
            f"Both dictionaries are of one model, {headline.seeds_of}, and {headline.unlike}. This is therefore no "
            "ceiling: two SAEs that differ in their seed only may share more, or less."
        )
    if headline.seeds_of is not None:
        return (
            f"Both dictionaries are of one model, {headline.seeds_of}, were trained on the same text, and differ in "
            "their seed only. This is therefore a ceiling: a comparison of two models cannot find what two SAEs of one "
            "model do not share. It does not show whether another model would learn the same features."
        )
    if not ceilings and not headline.no_ceilings:
        return "No second SAE of either model was trained, so the ceiling is unknown."
    without = [f"The two SAEs of {model} {why}, so they give no ceiling." for model, why in headline.no_ceilings]
    if not ceilings:
        return " ".join([*without, "The ceiling is therefore unknown."])
    return " ".join([_against_ceilings(headline, features, ceilings), *without])


def _against_ceilings(headline: Headline, features: Population, ceilings: tuple[Population, ...]) -> str:
    named = zip(headline.ceilings_of or ("one model",) * len(ceilings), ceilings, strict=True)
    medians = listed([f"two SAEs of {model} with {median_of(ceiling)}" for model, ceiling in named])
    if not _have_medians(features, *ceilings):
        return f"Where only the SAE's seed differs: {medians}."
    lowest = min(ceilings, key=lambda ceiling: ceiling.median)
    if not differ(features, lowest):
        return (
            f"Where only the SAE's seed differs, features agree no more than across models: {medians}. The differences "
            "are then due to the SAEs, not to the language models."
        )
    if features.median > lowest.median:
        return (
            f"Where only the SAE's seed differs, features agree less than across models: {medians}. This should not "
            "happen with a ceiling; check whether those SAEs were trained in the same way."
        )
    # of the distance from the features' median to r = 1, the part that the ceiling does not reach either
    shares = sorted((1 - ceiling.median) / (1 - features.median) for ceiling in ceilings)
    within = " to ".join(dict.fromkeys(map(percent, shares)))
    return (
        f"Where only the SAE's seed differs, features agree more closely: {medians}. So {within} of the distance "
        "between features and r = 1 is present within one model already."
    )


def _have_medians(*populations: Population) -> bool:
    return all(known(population.median) for population in populations)


def _optimism(headline: Headline, features: Population) -> str:
    chosen = headline.summary.chosen_median
    if not (known(chosen) and known(features.median)):
        return ""
    medians = (
        f"On the documents that were used to choose partners the median is {fixed(chosen, 3)}, on the held-out "
        f"documents {fixed(features.median, 3)}"
    )
    gain = chosen - features.median
    if abs(gain) < LEAST_DIFFERENCE:
        return f"{medians}: choosing partners hardly inflates the numbers."
    if gain > 0:
        return (
            f"{medians}: choosing partners inflates the median by {fixed(gain)}, so only held-out numbers are used "
            "above."
        )
    return f"{medians}: the first is lower because the two halves differ in text."


def _published(headline: Headline) -> str:
    if headline.seeds_of is not None:
        return ""  # the published values are of two models
    landmark = (
        f"{published.CITATION}, report medians of {fixed(published.FEATURES_MEDIAN)} for features and "
        f"{fixed(published.NEURONS_MEDIAN)} for neurons, each with its nearest partner, partners allowed to repeat, "
        "from other models, other text and 40.96 million tokens"
    )
    features, units = headline.summary.nearest_median, headline.neurons.nearest_median if headline.neurons else None
    if not known(features):
        return f"{landmark}."
    neurons = f" and {fixed(units)} for {headline.units}" if known(units) else ""
    return f"{landmark}; counted that way, this run gives {fixed(features)} for features{neurons}."


def across_widths(rows: Sequence[WidthRow]) -> str:
    """Describe how the median changes as the dictionary grows; empty with fewer than two widths."""
    scored = [row for row in rows if known(row.summary.held_out_median)]
    if len(scored) < 2:
        return ""
    first, last = scored[0], scored[-1]
    low, high = first.summary.held_out_median, last.summary.held_out_median
    trend = "stays about the same" if abs(high - low) < LEAST_DIFFERENCE else "rises" if high > low else "falls"
    return (
        f"From {counts(first.widths)} to {counts(last.widths)} features the median held-out r {trend} "
        f"({fixed(low)} to {fixed(high)})."
    )


def language_models(models: LanguageModels) -> str:
    """Compare the models' losses with that of a bigram table."""
    losses = [row.loss for row in models.rows if known(row.loss)]
    if not losses:
        return "The models' losses on held-out text are not known."
    worst = max(losses)
    lowest = fixed(min(losses))
    losses_range = lowest if lowest == fixed(worst) else f"{lowest} to {fixed(worst)}"
    if not known(models.bigram):
        return f"Held-out loss: {losses_range} nats a token."
    gain = models.bigram - worst
    start = f"Held-out loss is {losses_range} nats a token; counting pairs of tokens gives {fixed(models.bigram)}"
    if gain <= 0:
        return f"{start}, so not every model is better than a bigram table, and its features may hold little else."
    if gain < HARDLY_BETTER:
        return f"{start}, hardly more: these models have learnt little beyond pairs of tokens."
    return f"{start}: the worst model is {fixed(gain)} better."


def concepts(rows: Sequence[ConceptRow]) -> str:
    """Compare the concepts with published values, and count those that both models have."""
    if not rows:
        return "No kind of text has enough tokens for this table."
    landmarks = [row for row in rows if row.kind in published.CONCEPTS]
    parts = []
    if landmarks:
        measured = [f"{row.kind} {fixed(row.held_out)}" for row in landmarks]
        theirs = [f"{row.kind} {fixed(published.CONCEPTS[row.kind].activation_r)}" for row in landmarks]
        parts.append(f"Held-out r here: {listed(measured)}; published, from other models and text: {listed(theirs)}.")
        several = [row for row in landmarks if row.most_alike not in (None, row.feature)]
        if several:
            best = [f"{row.kind} {fixed(row.most_alike_held_out)} (of {row.known_by} features)" for row in several]
            parts.append(f"Where several features detect the kind, the one with the most similar partner has: "
                         f"{listed(best)}.")  # fmt: skip
    detected = [row for row in rows if known(row.f1) and row.f1 >= KNOWS]
    similar = [row for row in detected if known(row.held_out) and row.held_out >= 0.5]
    total = (
        f"Of {plural(len(rows), 'kind')}, {len(detected)} {_have(detected)} a feature in the first model that detects "
        f"the kind well (F1 ≥ {KNOWS})"
    )
    parts.append(
        f"{total}; of these, {len(similar)} {_have(similar)} a partner with r ≥ 0.5." if detected else f"{total}."
    )
    return " ".join(parts)


def _have(rows: Sequence[ConceptRow]) -> str:
    return "has" if len(rows) == 1 else "have"
