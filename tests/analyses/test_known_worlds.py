"""Toy models: more concepts than dimensions, SAEs that find them, and a matching that is held against them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from universality import Similarity, match

ANALYSES = Path(__file__).parents[2] / "analyses"


def test_saes_of_two_toy_models_find_the_concepts_and_the_matching_the_shared_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ANALYSES))
    import known_worlds

    monkeypatch.setattr(known_worlds, "D_IN", 24)
    monkeypatch.setattr(known_worlds, "WIDTH", 48)
    world = replace(known_worlds.PLAIN, n_documents=80, n_shared=24, n_alone=8, density=(2e-2, 5e-2))
    planted, more = known_worlds.learnt([(world, tmp_path / "x", 0), (world, tmp_path / "y", 1)], seed=0)
    np.testing.assert_array_equal(planted.concept_a, more.concept_a)
    assert planted.a.content_hash() != more.a.content_hash()
    for concept in (planted.concept_a, planted.concept_b):
        assert np.unique(concept[concept >= 0]).size >= 0.8 * 32  # of more concepts than dimensions
    found = match(Similarity.activation(planted.a, planted.b))
    true = planted.is_true(found.rows, found.cols)
    assert true.sum() >= 0.8 * 24
    assert found.scores[true].min() > np.median(found.scores[~true])


def test_tables_of_a_tiny_world_say_what_they_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ANALYSES))
    import known_worlds

    for name, value in {"REPLICATES": 2, "BOOTSTRAP": 20, "MORE_TEXT": 2, "MISSED": (0.2,)}.items():
        monkeypatch.setattr(known_worlds, name, value)
    tiny = {"n_documents": 60, "blocks": 2, "density": (2e-2, 5e-2)}
    monkeypatch.setattr(known_worlds, "WEAK", replace(known_worlds.WEAK, **tiny, n_shared=40, n_alone=10))
    (found,) = known_worlds.power(1, tmp_path).to_dict("records")
    assert found["paired rightly"] > 0.9
    assert found["global, all blocks"] >= found["global, half blocks"] > 0.5
    nothing = known_worlds.look(replace(known_worlds.NOTHING, **tiny, n_alone=40), tmp_path, 0)
    line = known_worlds.summary(pd.DataFrame([nothing]), shared=False)
    assert line["FDR global"] == line["flagged"] == 0
    assert 0 <= line["global p<=0.01"] <= line["global p<=0.05"] <= line["global p<=0.2"] < 0.5
    shared = known_worlds.look(replace(known_worlds.PLAIN, **tiny, n_shared=40, n_alone=10), tmp_path, 0)
    line = known_worlds.summary(pd.DataFrame([shared]), shared=True)
    assert line["recall kind"] > 0.9
    assert line["coverage"] > 0.7
    assert np.isnan(line["kind p<=0.05"])
