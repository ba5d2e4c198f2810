"""The script that asks whether partners by effect are the partners by activation, on planted effects."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from universality import FeatureStore, Similarity, match
from universality.statistics import evaluation_halves
from universality.statistics.synthetic import World
from universality.statistics.synthetic_effects import EffectWorld, plant_effects

ANALYSES = Path(__file__).parents[2] / "analyses"
WORLD = World(n_documents=60, blocks=2, n_shared=30, n_alone=0, density=(0.05, 0.05), topic_share=1.0)


def as_effects(store: FeatureStore, path: Path) -> FeatureStore:
    """Write a store again as one of effects."""
    tokens = store.tokens
    with FeatureStore.create(path, store.n_features, {"quantity": "effect"}, store.documents) as writer:
        columns = {"token": tokens.token, "document": tokens.document, "position": tokens.position}
        writer.append(store.csr(), **columns, kind=tokens.kind_names)
        return writer.finish()


def test_partners_by_effect_are_counted_beside_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ANALYSES))
    import partners_by_effect as script

    shares = {}
    for relation in ("equal", "opposite"):
        _, inputs = plant_effects(WORLD, EffectWorld(relation), tmp_path / relation)
        by_activation = match(Similarity.activation(inputs.a, inputs.b, documents=evaluation_halves(inputs.a).choose))
        a, b = (
            SimpleNamespace(held_out=store, store=store, effects=as_effects(effects, tmp_path / f"{relation}{side}.h5"))
            for side, store, effects in (("a", inputs.a, inputs.effects_a), ("b", inputs.b, inputs.effects_b))
        )
        rows = list(script.overlap_rows(relation, by_activation, a, b, contexts=0))
        assert [row["matched by"] for row in rows] == ["activation, the same text", "effects, all tokens"]
        for row in rows:
            assert row["share_same_low"] <= row["share_same"] <= row["share_same_high"]
            assert row["chance"] == pytest.approx(1 / 30, abs=0.01)
        shares[relation] = [row["share_same"] for row in rows]
        text = script.printed(rows)
        assert "effects, all tokens" in text
        assert f"{shares[relation][0]:.1%} (" in text
    assert shares["equal"][0] == shares["opposite"][0] == 1  # by activation
    assert shares["equal"][1] == 1
    assert shares["opposite"][1] < 0.1  # the control: they fire alike, and act oppositely
