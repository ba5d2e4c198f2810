"""A run is opened for reading alone, and a run that changes is not answered from."""

from pathlib import Path

import numpy as np
import pytest

from universality.errors import ModelError, UniversalityError
from universality.pipeline.runner import alone_in
from universality.serve.live_run import LiveComparison, LiveRun, RunChangedError


def test_sides_know_their_pairs(live: LiveComparison) -> None:
    match = live.compared.calibration.match
    for side, features in zip(live.sides, (match.rows, match.cols), strict=True):
        assert (side.pair_of[features] == np.arange(len(features))).all()
        assert (side.pair_of >= 0).sum() == len(features)
        alive = side.described.store.alive
        assert np.allclose(np.linalg.norm(side.directions[alive], axis=1), 1, atol=1e-5)


def test_a_pair_has_the_numbers_of_the_calibration(live: LiveComparison) -> None:
    number = int(live.compared.frame["held_out"].idxmax())
    row, pair = live.compared.frame.iloc[number], live.pairs(np.asarray([number]))[0]
    assert pair["features"] == [row["row"], row["col"]]
    assert pair["held_out"] == pytest.approx(row["held_out"], abs=1e-4)


def test_nothing_is_written(copied: Path) -> None:
    (copied / "features" / "A.w128-s0.about.npz").unlink()  # as in runs of earlier versions
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    with LiveRun(copied) as run:
        assert run.comparison().sides[0].described.tokens.shape[0] == 128
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before


def test_a_run_that_is_being_written_is_refused(copied: Path) -> None:
    with alone_in(copied), pytest.raises(RunChangedError, match="another process is writing this run"):
        LiveRun(copied)
    LiveRun(copied).close()


def test_a_run_that_was_written_meanwhile_is_refused(copied: Path) -> None:
    with LiveRun(copied) as run:
        run.check_unchanged()
        (copied / "provenance.json").write_text("{}")
        with pytest.raises(RunChangedError, match="has changed since the server read it; start `universality serve`"):
            run.check_unchanged()


def test_a_model_that_is_gone_is_named(copied: Path) -> None:
    for file in (copied / "models" / "A").iterdir():
        file.unlink()
    with LiveRun(copied) as run, pytest.raises(ModelError, match="model 'A' cannot be loaded, so the page shows what"):
        run.site("A")


def test_what_is_no_run_is_refused(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(UniversalityError, match=r"expected a run's folder, with config\.yaml"):
        LiveRun(tmp_path)
    (tmp_path / "config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    with pytest.raises(UniversalityError, match="this run has no matching yet; `universality run"):
        LiveRun(tmp_path)
