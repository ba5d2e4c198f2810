"""Rates of splits, merges and orphans are those of the summary."""

from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from universality import plot
from universality.errors import UniversalityError

NAN = float("nan")


class Grown:
    """Stand-in for families, of which only the summary is drawn."""

    levels = (1, 2, 3)

    def summary(self) -> dict[str, Any]:
        columns = {
            "width": (64, 128, 256), "children_per_parent": (2.5, 2.0, None),
            "tree_children_per_parent": (1.5, 1.25, None), "merge_rate": (None, 0.3, 0.4),
            "novel_share": (None, 0.2, 0.1), "absorbed_share": (None, 0.01, 0.02),
        }  # fmt: skip
        return {"levels": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("children", {"all edges": [[128, 2.5], [256, 2.0]], "best parent only": [[128, 1.5], [256, 1.25]]}),
        ("merges", {"_": [[128, 0.3], [256, 0.4]]}),
        ("orphans", {"novel": [[128, 0.2], [256, 0.1]], "absorbed": [[128, 0.01], [256, 0.02]]}),
    ],
)
def test_every_step_is_drawn_at_its_wider_width(rate: Any, expected: dict[str, Any]) -> None:
    axes = Figure().subplots()
    assert plot.splitting(Grown(), rate, ax=axes) is axes  # type: ignore[arg-type]
    assert {line.get_label(): line.get_xydata().tolist() for line in axes.lines} == expected
    assert [label.get_text() for label in axes.get_xticklabels()] == ["128", "256"]
    assert (axes.get_legend() is None) == (rate == "merges")


def test_several_models_have_a_colour_each_and_gaps_are_left_out() -> None:
    tables = {"A": pd.DataFrame(Grown().summary()["levels"]), "B": pd.DataFrame({"width": [64, 128, 512]})}
    tables["B"]["merge_rate"] = [NAN, NAN, 0.5]
    axes = plot.splitting(tables, "merges")
    assert [(line.get_label(), line.get_xydata().tolist()) for line in axes.lines] == [
        ("A", [[128, 0.3], [256, 0.4]]), ("B", [[512, 0.5]]),
    ]  # fmt: skip
    assert len({line.get_color() for line in axes.lines}) == 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["A", "B"]


def test_one_width_is_said_and_what_are_no_families_is_refused() -> None:
    one = pd.DataFrame({"width": [64], "merge_rate": [NAN]})
    assert plot.splitting(one, "merges").texts[0].get_text() == "one width only"
    with pytest.raises(UniversalityError, match="expected rate 'children', 'merges' or 'orphans', found 'splits'"):
        plot.splitting(one, "splits")  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match=r"expected the result of families\(stores\) or a table .* found list"):
        plot.splitting([1])  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="splitting: the table lacks novel_share, absorbed_share"):
        plot.splitting(one, "orphans")
