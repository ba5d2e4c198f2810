import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from universality.errors import MismatchError
from universality.statistics.between_controls import MEASURES, between


def table(**rows: tuple[str, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"control": name, "kind": kind, **dict.fromkeys(MEASURES, value)} for name, (kind, value) in rows.items()]
    )


def test_the_study_lies_between_the_highest_floor_and_the_lowest_ceiling() -> None:
    found = between(
        table(real=("study", 0.5), seeds=("ceiling", 0.8), orders=("ceiling", 0.9), a=("floor", 0.1), b=("floor", 0.2))
    )
    assert found["control"].tolist() == ["b", "a", "real", "orders", "seeds"]
    for name in MEASURES:
        assert_allclose(found[f"{name}_normalised"], [0, -1 / 6, 0.5, 7 / 6, 1])


def test_without_a_floor_or_with_a_ceiling_below_it_nothing_is_said() -> None:
    for rows in (
        {"seeds": ("ceiling", 0.8)},
        {"a": ("floor", 0.9), "seeds": ("ceiling", 0.8)},
        {"a": ("floor", np.nan)},
    ):
        found = between(table(real=("study", 0.5), **rows))
        assert found["held_out_median_normalised"].isna().all()


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(MismatchError, match=r"needs the columns \['nearest_median'\]"):
        between(table(real=("study", 0.5)).drop(columns="nearest_median"))
