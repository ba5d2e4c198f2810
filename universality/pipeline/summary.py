"""The measures of a finished run, for the terminal."""

import json

from universality.pipeline.layout import RunFolder
from universality.report.numbers import count, of_all


def print_findings(folder: RunFolder) -> None:
    """The measures of a run, a line each.

    Every median is of all features that are counted; those without a score lie below every score.
    """
    found = json.loads(folder.report.with_name("summary.json").read_text(encoding="utf-8"))
    head = found["headline"]
    print(f"held-out r of matched features, {head['model_a']} and {head['model_b']}, width {head['width']}:")
    for part in head["populations"]:
        print(f"  {part['label']:<28} median {_number(part['median'])}   {of_all(part['n_scored'], part['n'])}")
    for row in found["widths"]:
        a = row["a"]
        print(
            f"  width {row['width']:>6,}: held-out r {_number(row['held_out'])}, "
            f"{of_all(row['n_scored'], row['n_living'])}, explained variance "
            f"{_number(a['explained_variance'])} at L0 {count(a['l0'])}, q <= 0.05 for "
            f"{_number(row['share_significant'])}, within kinds {_number(row['share_within_kinds'])}"
        )


def _number(value: float | None) -> str:
    return "   –" if value is None else f"{value:z.3f}"
