"""The answer in words: every sentence follows from the numbers, whichever way they fall.

Rules, so that nobody need guess them: every median and share is of all things that are counted, and one without a
score lies below every score; how many have one is said beside the median. Two medians *differ* if they are 0.02 or more
apart and neither their intervals over features nor those over works overlap, where both are known. The verdict goes by
the share of A's living features whose partner has a held-out r of 0.5 or more: half of them "largely yes", a fifth "in
part", fewer "mostly not"; and "no" where the median feature is no more alike than 95% of pairs of unrelated text. Where
half of the features or more fire too rarely to be scored, they could hold the answer: "no answer", unless it is
"largely yes" without them.
"""

import math

from universality.report import published_concepts as published
from universality.report.data import ConceptRow, Headline, LanguageModels, Population, WidthRow
from universality.report.formatting import count, fixed, interval, listed, of_all, percent, plural
from universality.statistics.concept_partners import KNOWS

LEAST_DIFFERENCE = 0.02
LARGELY, PARTLY, UNKNOWN = 0.5, 0.2, 0.5


def known(value: float | None) -> bool:
    """Whether a number is there."""
    return value is not None and math.isfinite(value)


def differ(x: Population, y: Population) -> bool:
    """Whether two medians differ, by the rule above."""
    if abs(x.median - y.median) < LEAST_DIFFERENCE:
        return False
    return _apart(x.low, x.high, y.low, y.high) and _apart(x.low_works, x.high_works, y.low_works, y.high_works)


def _apart(low: float, high: float, other_low: float, other_high: float) -> bool:
    """Whether two intervals do not overlap, or one of them is not known."""
    if not all(map(known, (low, high, other_low, other_high))):
        return True
    return low > other_high or other_low > high


def spread(population: Population) -> str:
    """The 95% intervals of a median, and over what each of them is; empty without any."""
    over = [
        (interval(population.low, population.high), "features"),
        (interval(population.low_works, population.high_works), plural(population.n_works, "work")),
    ]
    said = [f"over {what} {bounds}" for bounds, what in over if bounds]
    return f"95% interval {', '.join(said)}" if said else ""


def difference(x: float, y: float) -> str:
    """x less y as the reader computes it from the two printed numbers."""
    return fixed(round(x, 2) - round(y, 2))


def median_of(population: Population, digits: int = 2, more: str = "") -> str:
    """A median with how many it is of: ``a median of 0.60 (2,024 of 2,047 scored)``."""
    scored = of_all(population.n_scored, population.n)
    if not known(population.median):
        return f"no median, since at most half have a score ({scored})"
    return f"a median of {fixed(population.median, digits)} ({scored}{more})"


def answer(headline: Headline) -> tuple[str, ...]:
    """The paragraphs that follow the verdict."""
    features = headline.of("features")
    if features is None:
        return (
            "This run cannot answer the question: no pair of features could be scored on held-out text. The warnings "
            "below say what was missing.",
        )
    baselines = " ".join(filter(None, (_neurons(headline, features), _ceiling(headline, features))))
    first = f"{_shares(headline, features)} {_chance(headline, features)}"
    return tuple(filter(None, (first, baselines, _optimism(headline, features), _published(headline))))


def question(headline: Headline) -> str:
    """What the page answers."""
    if headline.seeds_of is not None:
        which = headline.unlike or "differ in their seed"
        return f"Do two sparse autoencoders of {headline.seeds_of}, which {which}, find the same features?"
    if not headline.apart:
        return f"Do {headline.model_a} and {headline.model_b} hold the same features?"
    return "Do two networks trained apart learn the same features?"


def verdict(headline: Headline) -> str:
    """In three words or fewer."""
    features, null = headline.of("features"), headline.of("null")
    if features is None:
        return "No answer"
    if null is not None and features.median <= null.quantile_95:
        return "No"
    share = features.shares[0]
    if share < LARGELY and features.unknown >= UNKNOWN:
        return "No answer"
    return "Largely yes" if share >= LARGELY else "In part" if share >= PARTLY else "Mostly not"


def _shares(headline: Headline, features: Population) -> str:
    a, b = headline.model_a, headline.model_b
    intervals = spread(features)
    return (
        f"Of the {plural(features.n, 'living feature')} of {a} ({count(headline.width)} wide), "
        f"{percent(features.shares[0])} have a partner in {b} with r ≥ 0.5 and {percent(features.shares[1])} one with "
        f"r ≥ 0.7, on {plural(headline.n_tokens, 'held-out token')} that had no part in choosing partners. Their "
        f"best-match r has {median_of(features, more=f'; {intervals}' if intervals else '')}."
        f"{_rare(features)}"
    )


def _rare(features: Population) -> str:
    if features.unknown < UNKNOWN:
        return ""
    return (
        f" {percent(features.unknown)} fire too rarely on this text to be scored, so the shares are lower bounds; more "
        "text would tell."
    )


def _chance(headline: Headline, features: Population) -> str:
    null = headline.of("null")
    if null is None:
        return "No null was run, so nothing here says what chance would give."
    among = "unrelated text" if headline.null == "global" else "unrelated text of the same kind"
    chance = (
        f"Chance, the same matching on {among} ({plural(headline.replicates, 'replicate')}), gives a median of "
        f"{fixed(null.median, 3)}, below {fixed(null.quantile_95, 3)} for 95% of pairs"
        f"{'' if null.shares[0] else ', and never reaches 0.5'}."
    )
    if features.median <= null.quantile_95:
        chance += " The typical feature's partner is no more alike than that."
    if not known(headline.share_significant):
        return chance
    return f"{chance} {_significant(headline, features)}"


def _significant(headline: Headline, features: Population) -> str:
    share, a = headline.share_significant, headline.model_a
    beaten = f"{percent(share)} of {a}'s living features have a partner that beats chance at q ≤ {headline.q_level:g}"
    if share >= LARGELY and features.shares[0] < LARGELY:
        beaten += "; with so much text that is a low bar, which weak resemblance passes too"
    if headline.null == "global" and known(headline.share_within_kinds):
        within = percent(headline.share_within_kinds)
        return f"{beaten}, and {within} one that beats unrelated text of the same kind."
    return f"{beaten}."


def _neurons(headline: Headline, features: Population) -> str:
    neurons = headline.of("neurons")
    if headline.seeds_of is not None:
        return ""  # one model's units match themselves
    if neurons is None:
        units = headline.units[0].upper() + headline.units[1:]
        return f"{units} were not stored, so there is no baseline of the models' own units."
    start = f"Matched the same way, the models' own {headline.units} reach {median_of(neurons)}"
    if not _have_medians(features, neurons):
        return f"{start}."
    if not differ(features, neurons):
        return (
            f"{start}: features are about as alike across models as {headline.units}, so the dictionaries bring no "
            "gain here."
        )
    if features.median > neurons.median:
        return f"{start}, {difference(features.median, neurons.median)} less than features do."
    return (
        f"{start}, {difference(neurons.median, features.median)} more than features do: here the dictionaries' "
        "features are less alike across models than the units that they were built from."
    )


def _ceiling(headline: Headline, features: Population) -> str:
    ceilings = headline.of_all("ceiling")
    if headline.seeds_of is not None and headline.unlike:
        return (
            f"Both dictionaries are of one model, {headline.seeds_of}, and {headline.unlike}. So this is no ceiling: "
            "two SAEs that differ in their seed only may share more, or less."
        )
    if headline.seeds_of is not None:
        return (
            f"Both dictionaries are of one model, {headline.seeds_of}, on the same text, and differ in their seed "
            "only. So this is a ceiling: what two SAEs of one model do not share, no comparison of two models can; and "
            "it does not say whether another model would learn the same."
        )
    if not ceilings and not headline.no_ceilings:
        return "No second SAE of either model was trained, so the ceiling is unknown."
    without = [f"The two SAEs of {model} {why}: they give no ceiling." for model, why in headline.no_ceilings]
    if not ceilings:
        return " ".join([*without, "So the ceiling is unknown."])
    return " ".join([_against_ceilings(headline, features, ceilings), *without])


def _against_ceilings(headline: Headline, features: Population, ceilings: tuple[Population, ...]) -> str:
    named = zip(headline.ceilings_of or ("one model",) * len(ceilings), ceilings, strict=True)
    medians = listed([f"two SAEs of {of} with {median_of(ceiling)}" for of, ceiling in named])
    start = f"Where only the SAE's own seed differs, features agree more closely: {medians}"
    if not _have_medians(features, *ceilings):
        return f"Where only the SAE's own seed differs: {medians}."
    lowest = min(ceilings, key=lambda ceiling: ceiling.median)
    if not differ(features, lowest):
        return (
            f"Where only the SAE's own seed differs, features agree no more than across models: {medians}. What "
            "differs is then the SAEs' doing, not the language models'."
        )
    if features.median > lowest.median:
        return (
            f"Where only the SAE's own seed differs, features agree less than across models: {medians}. A ceiling "
            "should not: see whether those SAEs are trained alike."
        )
    shares = sorted((1 - ceiling.median) / (1 - features.median) for ceiling in ceilings)
    within = " to ".join(dict.fromkeys(map(percent, shares)))
    return f"{start}. So {within} of what separates features from r = 1 is there within one model already."


def _have_medians(*populations: Population) -> bool:
    return all(known(population.median) for population in populations)


def _optimism(headline: Headline, features: Population) -> str:
    if not (known(headline.median_chosen) and known(features.median)):
        return ""
    gain = headline.median_chosen - features.median
    start = f"On the documents that chose the partners the median is {fixed(headline.median_chosen, 3)}"
    if abs(gain) < LEAST_DIFFERENCE:
        return f"{start}, on the held-out ones {fixed(features.median, 3)}: choosing has hardly flattered the numbers."
    if gain > 0:
        return (
            f"{start}, on the held-out ones {fixed(features.median, 3)}: choosing partners flatters by "
            f"{fixed(gain)}, so only held-out numbers are used above."
        )
    return f"{start}, lower than on the held-out ones ({fixed(features.median, 3)}): the two halves differ in text."


def _published(headline: Headline) -> str:
    if headline.seeds_of is not None:
        return ""  # the landmark is of two models
    landmark = (
        f"{published.CITATION}, report medians of {fixed(published.FEATURES_MEDIAN)} for features and "
        f"{fixed(published.NEURONS_MEDIAN)} for neurons, each with its best partner, partners allowed to repeat, from "
        "other models, other text and 40.96 million tokens"
    )
    if not known(headline.nearest):
        return f"{landmark}."
    neurons = f" and {fixed(headline.nearest_neurons)} for {headline.units}" if known(headline.nearest_neurons) else ""
    return f"{landmark}; counted that way, this run gives {fixed(headline.nearest)} for features{neurons}."


def across_widths(rows: tuple[WidthRow, ...]) -> str:
    """What happens to the median as the dictionary grows."""
    scored = [row for row in rows if known(row.held_out)]
    if len(scored) < 2:
        return ""
    first, last = scored[0], scored[-1]
    change = last.held_out - first.held_out
    word = "stays about the same" if abs(change) < LEAST_DIFFERENCE else "rises" if change > 0 else "falls"
    return (
        f"From {count(first.width)} to {count(last.width)} features the median held-out r {word} "
        f"({fixed(first.held_out)} to {fixed(last.held_out)})."
    )


def language_models(models: LanguageModels) -> str:
    """Whether the models learnt more than counting."""
    losses = [row.loss for row in models.rows if known(row.loss)]
    if not losses:
        return "The models' losses on held-out text are not known."
    worst = max(losses)
    least = fixed(min(losses))
    spread = least if least == fixed(worst) else f"{least} to {fixed(worst)}"
    if not known(models.bigram):
        return f"Held-out loss: {spread} nats a token."
    gain = models.bigram - worst
    start = f"Held-out loss is {spread} nats a token; counting pairs of tokens gives {fixed(models.bigram)}"
    if gain <= 0:
        return f"{start}, so not every model is better than a bigram table: its features may be about little else."
    if gain < 0.2:
        return f"{start}, hardly more: these models know little beyond pairs of tokens."
    return f"{start}: the worst model is {fixed(gain)} better."


def concepts(rows: tuple[ConceptRow, ...]) -> str:
    """How the concepts with published values fare, and the others."""
    if not rows:
        return "No kind of text has enough tokens for this table."
    landmarks = [row for row in rows if row.kind in published.CONCEPTS]
    parts = []
    if landmarks:
        said = [f"{row.kind} {fixed(row.held_out)}" for row in landmarks]
        theirs = [f"{row.kind} {fixed(published.CONCEPTS[row.kind].activation_r)}" for row in landmarks]
        parts.append(f"Held-out r here: {listed(said)}; published, from other models and text: {listed(theirs)}.")
        several = [row for row in landmarks if row.most_alike not in (None, row.feature)]
        if several:
            said = [f"{row.kind} {fixed(row.most_alike_held_out)} (of {row.known_by} features)" for row in several]
            parts.append(f"Where several features know the kind, the most alike of them has: {listed(said)}.")
    clear = [row for row in rows if known(row.f1) and row.f1 >= KNOWS]
    alike = [row for row in clear if known(row.held_out) and row.held_out >= 0.5]
    parts.append(
        f"Of {plural(len(rows), 'kind')}, {len(clear)} {'has' if len(clear) == 1 else 'have'} a feature in the first "
        f"model that tells the kind well (F1 ≥ {KNOWS})"
        + (f"; of those, {len(alike)} {'has' if len(alike) == 1 else 'have'} a partner with r ≥ 0.5." if clear else ".")
    )
    return " ".join(parts)
