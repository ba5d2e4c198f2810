"""The findings' helpers: intervals cover, planted causes and differences are found, nothing is made twice."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality import calibrate
from universality.features.storage.token_table import Dictionary
from universality.models.model_settings import ModelArchitecture
from universality.statistics import pw_mcc
from universality.statistics.synthetic import World, concepts, documents, in_superposition

FINDINGS = Path(__file__).parents[2] / "analyses" / "findings"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FINDINGS))


def test_the_jackknife_over_seeds_covers_the_mean_over_pairs() -> None:
    from intervals import over_seeds

    rng, covered, naive = np.random.default_rng(0), 0, 0
    for _ in range(400):
        seed, pair = rng.normal(size=4), 0.3 * rng.normal(size=(4, 4))
        pairs = {(i, j): 5 + seed[i] + seed[j] + pair[i, j] for i, j in combinations(range(4), 2)}
        found = over_seeds(pairs)
        covered += found.low <= 5 <= found.high
        naive += abs(np.mean(list(pairs.values())) - 5) <= 2.57 * np.std(list(pairs.values()), ddof=1) / np.sqrt(6)
    assert covered / 400 >= 0.93
    assert naive / 400 < 0.85  # six pairs of four seeds are not six measurements


def test_two_seeds_give_no_interval() -> None:
    from intervals import over_seeds

    found = over_seeds({(0, 1): 0.4})
    assert found.value == 0.4
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(over_seeds({(0, 1): np.nan}).value)


def test_a_seed_in_every_pair_gives_no_interval() -> None:
    from intervals import over_seeds

    found = over_seeds({(0, 1): 0.4, (0, 2): 0.6, (1, 2): np.nan})
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_planted_causes_are_found() -> None:
    import causes

    effect = np.array([0.3, 0.0, 0.1, 0.02])
    levels = list(causes.crossed())
    rows = []
    for a, b in combinations(levels, 2):
        differs = np.array(a) != np.array(b)
        rows.append({"a": a, "b": b, "differs": tuple(differs.tolist()), "r": 0.9 - float(effect @ differs)})
    found = pd.DataFrame(rows)
    drops = causes.drops(found)
    assert_allclose(drops["drop"], effect, atol=1e-12)
    assert_allclose(drops["alone"], 0.9 - effect)
    assert_allclose(drops["drop_lowest"], drops["drop_highest"], atol=1e-12)
    table = causes.by_factors(found)
    assert len(table) == 15
    assert (table["pairs"] == 8).all()
    assert table.iloc[0]["model data order"] == "differs"  # the factor without an effect


def compared(shared: float, alive: float) -> object:
    from compare import Compared

    one = np.full(10, shared)
    return Compared(np.full(10, 100.0), one, one, one, one, np.full(5, shared), np.full(2, alive))


def test_topk_and_relu_are_compared_at_equal_l0_and_living_features() -> None:
    import stability

    def setting(key: tuple, shared: float, alive: float, l0: float) -> stability.Setting:
        pairs = {pair: compared(shared + 0.001 * sum(pair), alive) for pair in combinations(range(4), 2)}
        return stability.Setting(key, pairs, dict.fromkeys(range(4), l0), dict.fromkeys(range(4), 0.8), 1000)

    def truth(l0: float, alive: float) -> float:
        return 1.2 - 0.05 * np.log(l0) - 0.08 * np.log(alive)

    found = {
        (key := ("topk", k, width, stability.FULL)): setting(key, truth(k, 0.95 * width), 0.95 * width, k)
        for k in stability.KS
        for width in stability.GRID_WIDTHS
    }
    near, far = ("relu", 0.004, stability.WIDTH, stability.FULL), ("relu", 0.006, stability.WIDTH, stability.FULL)
    found[near] = setting(near, truth(20, 700) - 0.1, 700, 20)
    found[far] = setting(far, 0.5, 200, 20)  # fewer living features than any TopK: left out
    table = stability.topk_against_relu(found)
    assert set(table["l1"]) == {0.004}
    assert_allclose(table["difference"], 0.1, atol=1e-9)
    assert_allclose(table["difference_low"], 0.1, atol=1e-9)  # equal for all pairs
    wider = truth(20, 0.95 * 1024) - truth(20, 700) + 0.1
    assert_allclose(table["equal_width_difference"], wider, atol=1e-9)


def test_comparing_gives_what_the_public_measures_give(tmp_path: Path) -> None:
    from compare import measure

    from universality import FeatureStore

    world = World(n_documents=60, blocks=2, n_shared=30, n_alone=0, density=(2e-2, 5e-2))
    codes = concepts(world, seed=1).tocsr()
    table, n = documents(world), world.blocks * world.block_length
    document, position = np.repeat(np.arange(60), n), np.tile(np.arange(1, world.block_length + 1), 120)
    directions = in_superposition(codes, d_in=24, seed=0)[1]
    stores = []
    for side in (0, 1):
        concept = np.random.default_rng(side).permutation(30)
        writer = FeatureStore.create(tmp_path / f"{side}.h5", 30, {"model": {"hash": "m"}, "site": "x"}, table)
        writer.append(codes[:, concept], token=position, document=document, position=position,
                      kind=np.array(table.kind)[document])  # fmt: skip
        stores.append(writer.finish(Dictionary(directions[concept], directions[concept] * (1 - 2 * side))))
    a, b = stores
    found = measure(a, b, by_weights=True)
    assert_allclose(found.pw_mcc, pw_mcc(a, b))
    assert_allclose(found.r, 1, atol=1e-6)
    assert_array_equal(found.shared, 0)  # the encoders point away from each other
    assert_array_equal(found.alive, [30, 30])
    calibrated = calibrate(a, b, replicates=0, bootstrap=0)
    assert_allclose(found.r, calibrated.held_out, atol=1e-6)
    assert np.isnan(measure(a, b, by_weights=False).decoder).all()


def test_a_laboratory_makes_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    from compare import compare
    from laboratory import Laboratory, Trained, Wanted, relu, topk

    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "x = 1", "שלום", "AbC9"]
    (tmp_path / "text").mkdir()
    for i in range(40):
        text = " ".join(rng.choice(words, size=300))
        (tmp_path / "text" / f"{i}.txt").write_text(text, encoding="utf-8")
    small = ModelArchitecture(d_model=16, n_heads=2, d_mlp=24)
    lab = Laboratory(tmp_path / "lab", source=str(tmp_path / "text"), share=1.0, architecture=small)
    model = Trained(init=0, order=100, epochs=0.5)
    first = [Wanted(topk(4, 32, seed), model, tokens=6000) for seed in (0, 1)]
    lab.make(first)
    made = {path: path.stat().st_mtime_ns for path in lab.root.rglob("*") if path.is_file()}
    lab.make([*first, first[0].seeded(2), Wanted(relu(1e-3, 32), model, tokens=6000)])
    assert all(path.stat().st_mtime_ns == time for path, time in made.items() if "training" not in path.parts)
    assert len(list((lab.root / "features").glob("*.h5"))) == 4
    assert 0 < lab.quality(first[0])["l0"] <= 4
    assert lab.loss(model) > 0
    one, again = compare(lab, *first), compare(lab, *first)
    assert_array_equal(one.r, again.r)
    assert one.draws.size == again.draws.size > 0
