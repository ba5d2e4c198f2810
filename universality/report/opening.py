"""The first screen of a report: the answer in one sentence, and three numbers beside what they are compared with."""

from collections.abc import Callable
from dataclasses import dataclass

from universality.formatting import count, fixed, percent
from universality.report import effect_narrative, narrative
from universality.report.data import THRESHOLDS, EffectRow, Headline, Population, Report


@dataclass(frozen=True)
class LeadNumber:
    """One of the numbers that a report begins with.

    Parameters
    ----------
    value
        The number, formatted.
    what
        What it is.
    beside
        Names and values of what it is compared with.
    """

    value: str
    what: str
    beside: tuple[tuple[str, str], ...] = ()


def sentence(report: Report) -> str:
    """Answer the question in one sentence, without the full stop."""
    headline = report.headline
    verdict = effect_narrative.verdict(narrative.verdict(headline), report.effects)
    features, null = headline.of("features"), headline.of("null")
    if features is None:
        return f"{verdict}: no pair of features could be scored on held-out text"
    if narrative.verdict(headline) == "No answer":
        return (
            f"{verdict}: {percent(features.unknown)} of {headline.model_a}'s living features fire too rarely on this "
            "text to be scored"
        )
    chance = "" if null is None else f"; by chance {percent(null.shares[0]) if null.shares[0] else 'none'} would"
    return (
        f"{verdict}: {percent(features.shares[0])} of {headline.model_a}'s {count(features.n)} living features have a "
        f"partner in {headline.model_b} with r ≥ {THRESHOLDS[0]} on held-out text{chance}"
    )


def numbers(report: Report) -> tuple[LeadNumber, ...]:
    """Choose three numbers: the share of features with a partner, the median r, and one on effects or on chance."""
    headline, features = report.headline, report.headline.of("features")
    if features is None:
        return ()
    a = headline.model_a
    shared = LeadNumber(
        percent(features.shares[0]),
        f"of {a}'s features have a partner with r ≥ {THRESHOLDS[0]}",
        _beside(headline, lambda population: percent(population.shares[0])),
    )
    median = LeadNumber(
        fixed(features.median),
        f"median r of {a}'s features with their partners",
        _beside(headline, lambda population: fixed(population.median, 3 if population.role == "null" else 2)),
    )
    effects = effect_narrative.own(report.effects)
    third = _significant(headline) if effects is None else _effects(report, effects)
    return (shared, median, *([] if third is None else [third]))


def _beside(headline: Headline, value: Callable[[Population], str]) -> tuple[tuple[str, str], ...]:
    """Pair the value of chance, of the models' own units and of the ceilings with their names."""
    names = {"null": lambda part: "chance", "neurons": lambda part: headline.units, "ceiling": lambda part: part.label}
    return tuple(
        (names[role](part), value(part)) for role in ("null", "neurons", "ceiling") for part in headline.of_all(role)
    )


def _effects(report: Report, row: EffectRow) -> LeadNumber:
    summary, effects = row.summary, report.effects
    beside = [("equal firing alone", summary.null_r), ("other features that fire alike", summary.control_r)]
    beside += [(part.label, part.summary.r_per_norm) for part in (effects.of_all("ceiling") if effects else ())]
    return LeadNumber(
        fixed(summary.r_per_norm),
        f"median r of partners' effects, of the {count(summary.n_compared)} pairs of {count(summary.n_pairs)} that "
        "fire together often enough",
        tuple((name, fixed(value)) for name, value in beside if narrative.known(value)),
    )


def _significant(headline: Headline) -> LeadNumber | None:
    """State the share that beats chance; None without a null."""
    summary = headline.summary
    share, within = summary.null.share_significant, summary.share_significant("kind")
    if not narrative.known(share):
        return None
    beside = (("within kinds of text", percent(within)),) if narrative.known(within) else ()
    what = f"of {headline.model_a}'s features have a partner that beats chance (q ≤ {summary.q_level:g})"
    return LeadNumber(percent(share), what, beside)
