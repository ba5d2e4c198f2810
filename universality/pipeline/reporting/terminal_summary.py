"""Main numbers of a finished run, for the terminal."""

from collections.abc import Iterator
from textwrap import fill
from typing import Any

from universality.files import read_json
from universality.formatting import count, of_all, percent
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.training_overlap import seen_in_training
from universality.report.data.effects import ALL_FIRINGS


def print_summary(folder: RunFolder) -> None:
    """Print the numbers of a run's ``summary.json``, one line each.

    Every median counts all features of its line; those without a score lie below every score.
    """
    numbers = read_json(folder.report.with_name("summary.json"))
    headline, effects = numbers["headline"], numbers.get("effects")
    for found in effects["carried"][:1] if effects else ():
        if found["enough_text"]:
            print(fill(found["sentence"], 100))
    print(
        f"held-out r of matched features, {headline['model_a']} and {headline['model_b']}, width {headline['width']}:"
    )
    for part in headline["populations"]:
        scored = of_all(part["n_scored"], part["n"])
        print(f"  {part['label']:<28} median {_number(part['median'])}   {scored}{_intervals(part)}")
    for line in _effects(effects) if effects else ():
        print(f"  {line}")
    for row in numbers["widths"]:
        print(f"  width {row['width']:>6,}: {_width(row['summary'], row['a'])}")
    for row in numbers.get("logit", ()):
        print(f"  by logit weights, {row['label']}: {_logit(row)}")
    for model in (numbers.get("models") or {}).get("rows", ()):
        print(f"  {seen_in_training(model['name'], model['held_out'], model['seen'])}")


def _effects(effects: dict[str, Any]) -> Iterator[str]:
    """List the agreement of effects of each comparison, and the accuracy of the first order."""
    if effects["rows"]:
        yield "effects where both fire, r per norm of the gradient:"
    for row in effects["rows"]:
        of = row["summary"]
        compared = f"{of['n_compared']:,} of {of['n_pairs']:,} pairs compared"
        yield (
            f"  {row['label']:<26} median {_number(of['r_per_norm'])}   {compared}; null {_number(of['null_r'])}, "
            f"controls {_number(of['control_r'])}, q <= {of['level']:g} for {_number(of['share_agree'])} of "
            f"{of['n_tested']:,} tested"
        )
    for row in effects["accuracy"]:
        if row["where"] == ALL_FIRINGS:
            yield (
                f"  first order, {row['model']}: rank correlation with exact effects {_number(row['spearman'])}, slope "
                f"{_number(row['slope'])}, {row['n']:,} firings"
            )


def _width(summary: dict[str, Any], sae: dict[str, Any]) -> str:
    nulls = summary["nulls"]
    first: dict[str, Any] = next(iter(nulls.values()), {})
    within_kinds = nulls.get("kind", {})
    return (
        f"held-out r {_number(summary['held_out_median'])}, {of_all(summary['n_scored'], summary['n_living'])}, "
        f"explained variance {_number(sae['explained_variance'])} at L0 {count(sae['l0'])}, "
        f"q <= {summary['q_level']:g} for {_number(first.get('share_significant'))}, "
        f"within kinds {_number(within_kinds.get('share_significant'))}"
    )


def _logit(row: dict[str, Any]) -> str:
    """Format a matching by logit weights beside its nulls, and how often it names the partner by activation."""
    summary, same = row["summary"], row["same_partner"]
    chance = [
        f"{_number(summary['nulls'][null]['median'])} {what} (q <= {summary['q_level']:g} for "
        f"{_number(summary['nulls'][null]['share_significant'])})"
        for null, what in (("vocabulary", "with token types exchanged"), ("directions", "by random directions"))
        if null in summary["nulls"]
    ]
    return (
        f"held-out r {_number(summary['held_out_median'])}, chance {', '.join(chance) or '   –'}; same partner as by "
        f"activation for {percent(same['share'], 1)}, chance {percent(same['by_chance'], 2)} to "
        f"{percent(same['by_firings'], 2)}"
    )


def _intervals(part: dict[str, Any]) -> str:
    """Format the 95% intervals of a median, each with what was resampled; a null has none."""
    over = (("low", "high", "features"), ("low_works", "high_works", f"{part['n_works']:,} works"))
    intervals = [
        f"{_number(part[low])} to {_number(part[high])} over {what}"
        for low, high, what in over
        if part["role"] != "null" and part[low] is not None
    ]
    return f"   95%: {', '.join(intervals)}" if intervals else ""


def _number(value: float | None) -> str:
    return "   –" if value is None else f"{value:z.3f}"
