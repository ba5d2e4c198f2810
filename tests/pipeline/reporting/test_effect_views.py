"""Data files of the explorer about what pairs do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import read_data as read

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
    found, words, index = (read(explored_effects, name) for name in ("pair-effects-0", "words", "index"))
    assert len(found) == index["n_pairs"] == len(pairs) + 1
    assert index["pair_effects"]["loss"] is True
    assert index["pair_effects"]["tokens"]["times"] == 1
    np.testing.assert_allclose(index["pair_effects"]["tokens"]["chance"], pairs.chance(), rtol=0.01)
    for i in (0, 5):
        assert found[i]["tokens"]["r"] == [[pytest.approx(r, rel=0.01) for r in rows] for rows in pairs.r[i].tolist()]
        lists = found[i]["tokens"]["sides"]
        for side, how, direction in np.ndindex(2, 2, 2):
            shown = lists[side][how][direction]
            large = abs(pairs.changes[side, i, how, direction]) >= LEAST
            assert [value for _, value in shown] == pytest.approx(
                pairs.changes[side, i, how, direction][large].tolist(), rel=0.01
            )
            assert all(isinstance(words[word], str) for word, _ in shown)
        assert found[i]["loss"]["r"] == pytest.approx(loss["r_per_norm"][i], rel=0.01)
        assert found[i]["loss"]["ceiling_b"] is None
    assert len(found[0]["tokens"]["sides"][0][0][0]) == 6  # two changes are too small
    assert found[2]["tokens"]["r"] == [[None, None], [None, None]]
    assert found[4]["loss"]["r"] is None
    assert found[-1]["tokens"] is None


def test_pages_without_effects_have_none(explored: Path, explored_effects: Path) -> None:
    assert "pair_effects" not in read(explored, "index")
    assert not (explored.parent / "data" / "pair-effects-0.js").exists()
    others = [
        path.name for path in (explored.parent / "data").glob("*.js") if path.name not in ("index.js", "words.js")
    ]
    assert len(others) > 5
    for name in others:
        both = [(page.parent / "data" / name) for page in (explored, explored_effects)]
        if not name.startswith(("pairs", "views", "families")):  # those refer to words by their places
            assert both[0].read_bytes() == both[1].read_bytes()


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
