"""A calibration survives its file; every pair carries its ceilings, NaN where none is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Planted, dense, pearson, planted, text

from universality.errors import FormatError, MismatchError
from universality.statistics import Calibration, calibrate

SEEN = text(24)
QUICK = {"replicates": 0, "bootstrap": 0}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("plant"), SEEN, n_shared=12, n_alone=6)


@pytest.fixture(scope="module")
def found(plant: Planted) -> Calibration:
    """Of A and B; A and B stand for two SAEs of one model, too."""
    return calibrate(plant.a, plant.b, **QUICK)


def test_a_ceiling_is_held_out_with_a_partner_that_was_chosen_elsewhere(plant: Planted, found: Calibration) -> None:
    of_b = calibrate(plant.b, plant.a, **QUICK)
    frame = found.with_ceilings(found, of_b).to_frame()
    assert_array_equal(frame["ceiling_a"], frame["held_out"])  # the second SAE is B itself here
    split = np.asarray(SEEN.documents.split)[SEEN.document]
    x, y = dense(plant.b), dense(plant.a)
    chosen, elsewhere = (pearson(x[split == half], y[split == half]) for half in ("choose", "report"))
    for row in frame[frame["row"].isin(plant.rows)].itertuples():
        assert_allclose(row.ceiling_b, elsewhere[row.col, chosen[row.col].argmax()], atol=1e-9)


def test_a_feature_without_a_scored_partner_there_has_no_ceiling(found: Calibration) -> None:
    kept = np.arange(found.match.rows.size) % 2 == 0
    match = replace(
        found.match, rows=found.match.rows[kept], cols=found.match.cols[kept], scores=found.match.scores[kept]
    )
    some = replace(found, match=match, held_out=np.where(np.arange(kept.sum()) < 3, np.nan, found.held_out[kept]))
    frame = found.with_ceilings(some).to_frame().set_index("row")
    known = match.rows[3:]
    assert_array_equal(np.sort(frame.index[frame["ceiling_a"].notna()]), np.sort(known))
    assert frame["ceiling_b"].isna().all()


def test_ceilings_are_kept_in_the_file_and_files_without_them_are_read(found: Calibration, tmp_path: Path) -> None:
    with_them = found.with_ceilings(found)
    back = Calibration.load(with_them.save(tmp_path / "with.npz"))
    assert_array_equal(back.ceiling_a, with_them.ceiling_a)
    assert np.isnan(back.ceiling_b).all()
    before = Calibration.load(found.save(tmp_path / "before.npz"))
    assert before.ceiling_a is None
    assert before.to_frame()[["ceiling_a", "ceiling_b"]].isna().all(axis=None)


def test_a_ceiling_of_another_dictionary_or_measure_is_refused(plant: Planted, found: Calibration) -> None:
    other = replace(found, match=replace(found.match, dead_rows=np.zeros(7, bool)))
    with pytest.raises(MismatchError, match="expected for a a calibration by activation whose rows are the 18"):
        found.with_ceilings(other)
    of_b = calibrate(plant.b, plant.a, **QUICK)
    with pytest.raises(MismatchError, match="the calibration for a are of another store than the rows of this one"):
        found.with_ceilings(of_b, found)
    masked = calibrate(plant.b, plant.a, "masked_cosine", **QUICK)
    with pytest.raises(MismatchError, match="of this one's columns, found one by masked_cosine with 18 rows"):
        found.with_ceilings(None, masked)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_saved_and_loaded_it_is_the_same(plant: Planted, tmp_path: Path, suffix: str) -> None:
    c = calibrate(plant.a, plant.b, replicates=np.int64(3), bootstrap=20)  # type: ignore[arg-type]
    back = Calibration.load(c.save(tmp_path / f"c{suffix}"))
    assert back.to_frame().equals(c.to_frame())
    assert back.summary() == c.summary()
    assert_array_equal(back.null_scores, c.null_scores)
    assert back.settings == c.settings
    assert_array_equal(back.median_ci, c.median_ci)
    assert back.n_groups == c.n_groups == 12
    assert back.match.provenance == c.match.provenance
    with pytest.raises(FormatError, match=r"not a universality\.calibration file"):
        Calibration.load(c.match.save(tmp_path / f"m{suffix}"))
