"""Data files of the explorer about what pairs do."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import read_data as read
from planted_run import unpacked

from universality.effects import PairEffects
from universality.errors import FormatError
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.effect_views import LEAST, EffectViews
from universality.pipeline.reporting.run_results import open_results
from universality.statistics import EffectAgreement

NAME = "A-B.w24"


def files(page: Path) -> RunFolder:
    return RunFolder(page.parents[1])


def test_every_pair_has_its_tokens_and_its_agreement(explored_effects: Path) -> None:
    pairs = PairEffects.load(files(explored_effects).pair_effects(NAME))
    loss = EffectAgreement.load(files(explored_effects).effect_agreement(NAME)).to_frame()
    here = f"comparisons/{NAME}"
    found, columns, words = (
        read(explored_effects, name) for name in (f"{here}/token-effects-0", f"{here}/effects", "words")
    )
    (index,) = read(explored_effects, "index")["comparisons"]
    of_loss = {name: unpacked(column) for name, column in columns.items()}
    assert len(found) == len(of_loss["r"]) == index["n_pairs"] == len(pairs) + 1
    assert index["pair_effects"]["loss"] is True
    assert index["pair_effects"]["tokens"]["times"] == 1
    np.testing.assert_allclose(index["pair_effects"]["tokens"]["chance"], pairs.chance(), rtol=0.01)
    for i in (0, 5):
        assert found[i]["r"] == [[pytest.approx(r, rel=0.01) for r in rows] for rows in pairs.r[i].tolist()]
        lists = found[i]["sides"]
        for side, how, direction in np.ndindex(2, 2, 2):
            shown = lists[side][how][direction]
            large = abs(pairs.changes[side, i, how, direction]) >= LEAST
            assert [value for _, value in shown] == pytest.approx(
                pairs.changes[side, i, how, direction][large].tolist(), rel=0.01
            )
            assert all(isinstance(words[word], str) for word, _ in shown)
        assert of_loss["r"][i] == pytest.approx(loss["r_per_norm"][i], rel=1e-6)
        assert np.isnan(of_loss["ceiling_b"][i])
    assert len(found[0]["sides"][0][0][0]) == 6  # two changes are too small
    assert found[2]["r"] == [[None, None], [None, None]]
    assert np.isnan(of_loss["r"][4])
    assert found[-1] is None


def test_pages_without_effects_have_none(explored: Path, explored_effects: Path) -> None:
    assert "pair_effects" not in read(explored, "index")["comparisons"][0]
    without, with_effects = (
        {path.relative_to(page.parent / "data").as_posix(): path for path in (page.parent / "data").rglob("*.js")}
        for page in (explored, explored_effects)
    )
    here = f"comparisons/{NAME}"
    assert set(with_effects) - set(without) == {f"{here}/token-effects-0.js", f"{here}/effects.js"}
    same = [name for name in without if re.search("partners|heatmap|map|about", name)]
    assert len(same) >= 5
    for name in same:
        assert without[name].read_bytes() == with_effects[name].read_bytes()


def test_a_damaged_file_is_named(planted: Any, tmp_path: Path) -> None:
    config, folder = planted
    with open_results(config, folder) as results:
        assert results.headline is not None
        assert EffectViews.open(results, results.headline).index() == {}
        results.folder = RunFolder(tmp_path)
        (tmp_path / "effects").mkdir()
        results.folder.pair_effects(NAME).write_bytes(b"not an archive")
        with pytest.raises(FormatError, match=r"A-B\.w24\.pairs\.npz: not a whole universality\.pair_effects file"):
            EffectViews.open(results, results.headline)
