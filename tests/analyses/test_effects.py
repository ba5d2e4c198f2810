"""The scripts that rank matchers and test agreement, on planted effects."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from universality import Similarity, match
from universality.statistics import compare_effects, evaluation_halves
from universality.statistics.synthetic import World
from universality.statistics.synthetic_effects import EffectWorld, PlantedEffects, plant_effects

ANALYSES = Path(__file__).parents[2] / "analyses"
WORLD = World(n_documents=60, blocks=2, n_shared=30, n_alone=0, density=(0.05, 0.05), topic_share=1.0)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ANALYSES))


def by_activation(inputs: PlantedEffects) -> Similarity:
    return Similarity.activation(inputs.a, inputs.b, documents=evaluation_halves(inputs.a).choose)


def test_partners_agree_and_random_partners_do_not(tmp_path: Path) -> None:
    import effects

    _, inputs = plant_effects(WORLD, EffectWorld("equal"), tmp_path)
    sides = tuple(
        SimpleNamespace(store=store, effects=of, norms=norm)
        for store, of, norm in (
            (inputs.a, inputs.effects_a, inputs.norm_a),
            (inputs.b, inputs.effects_b, inputs.norm_b),
        )
    )
    similarity = by_activation(inputs)
    named = effects.Named.best("true", match(similarity), sides, 20)
    table = effects.agreement(named, {"fingerprint": similarity}, n_fingerprints=5)
    assert len(table) == 20
    assert table["score"].is_monotonic_decreasing
    assert table["effects"].min() > 0.5
    assert table["fingerprint"].notna().sum() == 5  # of the best pairs alone
    assert table["rank"].isna().all()
    small, whole = effects.summarise(named, table, [10, 50], n_fingerprints=5)
    assert (small["pairs"], whole["pairs"]) == (10, 20)
    assert whole["effects_low"] < whole["effects"] < whole["effects_high"]
    assert whole["effects_documents_low"] < whole["effects"] < whole["effects_documents_high"]
    assert small["effects_documents_low"] < small["effects"] < small["effects_documents_high"]
    assert whole["documents"] == evaluation_halves(inputs.a).report.size
    assert small["fingerprint_n"] == 0
    assert np.isnan(small["fingerprint"])
    rng = np.random.default_rng(0)
    wrong = match(similarity)
    random = effects.Named.best("random", effects.replace(wrong, cols=rng.permutation(wrong.cols)), sides, 30)
    of_random = effects.agreement(random, {}, 30)["effects"]
    assert of_random.isna().all() or of_random.median() < 0.3
    text = effects.printed(pd.DataFrame([small, whole]))
    assert "true" in text
    assert "–" in text
    effects.draw(pd.DataFrame([small, whole]), "planted", tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_a_permutation_of_single_effects_passes_independent_effects(tmp_path: Path) -> None:
    import partner_effects

    _, inputs = plant_effects(WORLD, EffectWorld("independent"), tmp_path)
    chosen = match(by_activation(inputs))
    found = compare_effects(chosen, *inputs, controls=0, permutations=199)
    naive = partner_effects.naive_p(chosen, inputs, seed=0)
    assert naive.size == found.summary().n_compared > 20
    assert (naive <= 0.05).mean() > 0.3
    assert (found.pairs["p"] <= 0.05).mean() <= 0.2  # 30 pairs
    row = partner_effects.summary_row("x", found)
    assert row["r_per_norm_low"] < row["r_per_norm"] < row["r_per_norm_high"]
    assert row["n_tested"] + sum(row["without_p"].values()) == row["n_pairs"] == 30
