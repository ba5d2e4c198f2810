"""The measures of a finished run, for the terminal."""

from universality.files import read_json
from universality.pipeline.layout import RunFolder


def print_findings(folder: RunFolder) -> None:
    """The measures of a run, a line each."""
    found = read_json(folder.report.with_name("summary.json"))
    head = found["headline"]
    print(f"held-out r of matched features, {head['model_a']} and {head['model_b']}, width {head['width']}:")
    for part in head["populations"]:
        print(f"  {part['label']:<28} median {_number(part['median'])}   n {part['n']:,}")
    for row in found["widths"]:
        a = row["a"]
        print(
            f"  width {row['width']:>6,}: held-out r {_number(row['held_out'])}, explained variance "
            f"{_number(a['explained_variance'])} at L0 {a['l0']:.0f}, q <= 0.05 for "
            f"{_number(row['share_significant'])}, within kinds {_number(row['share_within_kinds'])}"
        )


def _number(value: float | None) -> str:
    return "   –" if value is None else f"{value:z.3f}"
