from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from universality.archive import write_archive
from universality.effects.pair_effects import FORMAT, PairEffects
from universality.errors import FormatError, MismatchError


def made(n: int = 3) -> PairEffects:
    rng = np.random.default_rng(0)
    r, control_r = rng.uniform(-1, 1, (2, n, 2, 2))
    control_r[0] = np.nan
    tokens = rng.integers(-1, 90, (2, n, 2, 2, 5)).astype(np.int32)
    changes = np.where(tokens < 0, 0, rng.normal(size=tokens.shape)).astype(np.float32)
    controls, share = np.array([-1, 4, 5][:n]), np.array([0, 0.5, 1][:n])
    return PairEffects(
        np.arange(n), np.arange(n)[::-1].copy(), np.full(n, 8), r, controls, share, control_r, tokens, changes, 2.0,
        {"contexts": 8},
    )  # fmt: skip


def test_a_file_holds_everything(tmp_path: Path) -> None:
    whole = made()
    for name in ("pairs.npz", "pairs.json"):
        again = PairEffects.load(whole.save(tmp_path / name))
        assert (again.times, again.provenance) == (2.0, {"contexts": 8})
        for field in ("rows", "cols", "n_contexts", "r", "controls", "control_share", "control_r", "tokens", "changes"):
            np.testing.assert_array_equal(getattr(again, field), getattr(whole, field))
            assert getattr(again, field).dtype == getattr(whole, field).dtype


def test_chance_is_a_quantile_of_the_controls_that_there_are() -> None:
    whole = made()
    np.testing.assert_allclose(whole.chance(0.5), whole.control_r[1:].mean(axis=0))
    alone = replace(whole, control_r=np.full_like(whole.control_r, np.nan))
    assert np.isnan(alone.chance()).all()
    table = whole.to_frame()
    assert table["clamped_control_r_probability"].tolist()[1:] == whole.control_r[1:, 1, 1].tolist()
    assert table["ablated_r_equal"].tolist() == whole.r[:, 0, 0].tolist()


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"pair effects: expected r \[3, 2, 2\], found \[2, 2, 2\]"):
        replace(made(), r=np.zeros((2, 2, 2)))
    path = write_archive(tmp_path / "half.npz", FORMAT, 1, {"times": 1, "provenance": {}}, {"rows": np.arange(3)})
    with pytest.raises(FormatError, match=r"half\.npz: not a whole universality\.pair_effects file"):
        PairEffects.load(path)
    with pytest.raises(FileNotFoundError):
        PairEffects.load(tmp_path / "none.npz")
