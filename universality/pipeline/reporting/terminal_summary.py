"""The measures of a finished run, for the terminal."""

from typing import Any

from universality.files import read_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.training_overlap import seen_in_training
from universality.report.formatting import count, of_all


def print_findings(folder: RunFolder) -> None:
    """The measures of a run, a line each.

    Every median is of all features that are counted; those without a score lie below every score.
    """
    found = read_json(folder.report.with_name("summary.json"))
    head = found["headline"]
    print(f"held-out r of matched features, {head['model_a']} and {head['model_b']}, width {head['width']}:")
    for part in head["populations"]:
        of = of_all(part["n_scored"], part["n"])
        print(f"  {part['label']:<28} median {_number(part['median'])}   {of}{_intervals(part)}")
    for row in found["widths"]:
        a = row["a"]
        print(
            f"  width {row['width']:>6,}: held-out r {_number(row['held_out'])}, "
            f"{of_all(row['n_scored'], row['n_living'])}, explained variance "
            f"{_number(a['explained_variance'])} at L0 {count(a['l0'])}, q <= {head['q_level']:g} for "
            f"{_number(row['share_significant'])}, within kinds {_number(row['share_within_kinds'])}"
        )
    for model in (found.get("models") or {}).get("rows", ()):
        print(f"  {seen_in_training(model['name'], model['held_out'], model['seen'])}")


def _intervals(part: dict[str, Any]) -> str:
    """The 95% intervals of a median, each with what it is over; a null's has none."""
    over = (("low", "high", "features"), ("low_works", "high_works", f"{part['n_works']:,} works"))
    known = [
        f"{_number(part[low])} to {_number(part[high])} over {what}"
        for low, high, what in over
        if part["role"] != "null" and part[low] is not None
    ]
    return f"   95%: {', '.join(known)}" if known else ""


def _number(value: float | None) -> str:
    return "   –" if value is None else f"{value:z.3f}"
