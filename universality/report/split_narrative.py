"""Explanations of families in words: does a split make them more specific?

"Yes" where the interval of the difference (gain of parents that split minus gain of parents that did not) lies above 0,
"No, less" where it lies below, "Not shown" where it holds 0, "No answer" where there are too few families.
"""

from universality.formatting import fixed, interval, percent, plural
from universality.labels.split_explanations import DIFFERENCE, SPLIT, UNSPLIT
from universality.report.data import SplitRow, SplitTable
from universality.report.narrative import known


def split_answer(table: SplitTable) -> str:
    """Answer the question, with its numbers."""
    split, unsplit, difference = (table.row(name) for name in (SPLIT, UNSPLIT, DIFFERENCE))
    if not known(difference.low):
        word = "No answer, for too few labelled families"
    elif difference.low > 0:
        word = "Yes"
    else:
        word = "No, less" if difference.high < 0 else "Not shown"
    parts = [
        f"{_gained(row)} where the parent {what} ({plural(row.n, 'parent')})"
        for row, what in ((split, "split"), (unsplit, "has one child"))
        if row.n
    ]
    return (
        f"Does a split make explanations more specific? {word}. Beside the explanation of their parent on the parent, "
        f"explanations of children on the children score {' and '.join(parts)}, by {table.score}. Difference: "
        f"{fixed(difference.gain, 3)}{_bounds(difference, table.level)}."
    )


def _gained(row: SplitRow) -> str:
    return f"{fixed(abs(row.gain), 3)} {'lower' if row.gain < 0 else 'higher'}"


def _bounds(row: SplitRow, level: float) -> str:
    bounds = interval(row.low, row.high, 3)
    return f", {percent(level)} interval over families {bounds}" if bounds else ""
