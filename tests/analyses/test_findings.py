"""The findings' helpers: intervals cover, planted causes and differences are found, nothing is made twice."""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import universality
from universality import calibrate
from universality.features.storage.token_table import Dictionary
from universality.models.model_settings import ModelArchitecture, ModelTraining
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


def test_the_interval_of_independent_pairs_is_students() -> None:
    from intervals import of_independent

    found = of_independent({(0, 1000): 0.2, (1, 1001): 0.4, (2, 1002): 0.6})
    assert found.value == pytest.approx(0.4)
    assert found.high - found.value == pytest.approx(4.302653 * 0.2 / np.sqrt(3))  # t(2) at 97.5%
    assert np.isnan(of_independent({(0, 1000): 0.2}).low)


def test_planted_causes_are_found() -> None:
    import causes
    from lengths import EARLY

    effect = np.array([0.3, 0.0, 0.1, 0.02])
    levels = list(causes.crossed(EARLY))
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
    from lengths import EARLY

    full = EARLY.tokens

    def setting(key: tuple, shared: float, alive: float, l0: float) -> stability.Setting:
        pairs = {pair: compared(shared + 0.001 * sum(pair), alive) for pair in combinations(range(4), 2)}
        return stability.Setting(key, pairs, dict.fromkeys(range(4), l0), dict.fromkeys(range(4), 0.8), 1000)

    def truth(l0: float, alive: float) -> float:
        return 1.2 - 0.05 * np.log(l0) - 0.08 * np.log(alive)

    found = {
        (key := ("topk", k, width, full)): setting(key, truth(k, 0.95 * width), 0.95 * width, k)
        for k in stability.KS
        for width in stability.GRID_WIDTHS
    }
    near, far = ("relu", 0.004, stability.WIDTH, full), ("relu", 0.006, stability.WIDTH, full)
    found[near] = setting(near, truth(20, 700) - 0.1, 700, 20)
    found[far] = setting(far, 0.5, 200, 20)  # fewer living features than any TopK: left out
    table = stability.topk_against_relu(found)
    assert set(table["l1"]) == {0.004}
    assert_allclose(table["difference"], 0.1, atol=1e-9)
    assert_allclose(table["difference_low"], 0.1, atol=1e-9)  # equal for all pairs
    wider = truth(20, 0.95 * 1024) - truth(20, 700) + 0.1
    assert_allclose(table["equal_width_difference"], wider, atol=1e-9)


def test_comparing_gives_what_the_public_measures_give(tmp_path: Path) -> None:
    from agreement import agreement
    from compare import measure

    from universality import FeatureStore

    world = World(n_documents=60, blocks=2, n_shared=30, n_alone=0, density=(2e-2, 5e-2))
    codes = concepts(world, seed=1).tocsr()
    table, n = documents(world), world.blocks * world.block_length
    document, position = np.repeat(np.arange(60), n), np.tile(np.arange(1, world.block_length + 1), 120)
    directions = in_superposition(codes, d_in=24, seed=0)[1]
    codes = sparse.hstack([codes, sparse.csr_matrix((codes.shape[0], 6))], format="csr")  # 6 features never fire
    directions = np.vstack([directions, np.eye(6, 24)])
    stores = []
    for side in (0, 1):
        concept = np.random.default_rng(side).permutation(36)
        writer = FeatureStore.create(tmp_path / f"{side}.h5", 36, {"model": {"hash": "m"}, "site": "x"}, table)
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
    numbers = agreement(a, b, by_weights=True)
    assert numbers["recurs"] == 1
    assert numbers["recurs_of_all"] == numbers["alive"] == 30 / 36
    assert numbers["shared"] == numbers["shared_of_all"] == 0
    assert numbers["pw_mcc"] == pytest.approx(found.pw_mcc)
    assert np.isnan(agreement(a, b, by_weights=False)["pw_mcc"])


def test_a_laboratory_makes_what_is_missing_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compare import compare
    from cost import estimate
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
    assert estimate(lab, first) == "0 SAEs to train, about 0 processor minutes; 0 language models, about 0"
    more = [first[0].seeded(7), Wanted(topk(4, 32), Trained(init=0, order=100, epochs=10.0))]
    assert re.fullmatch(r"2 SAEs to train, about \d+ .*; 1 language models, about 92", estimate(lab, [*first, *more]))
    compares_variants(lab, model, monkeypatch)


def compares_variants(lab: object, model: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study of agreement from training to table, on two variants; the second "model" is the same one."""
    import agreement
    from laboratory import topk

    specs = {"TopK": topk(4, 32), "Matryoshka": topk(4, 32, architecture="matryoshka", nested=(8,))}
    for name, value in {"ACROSS": tuple(specs), "MODELS": (model, model), "REPLICATES": 1}.items():
        monkeypatch.setattr(agreement, name, value)
    monkeypatch.setattr(agreement, "variants", lambda: specs)
    table = agreement.table(lab, range(2), tokens=6000)
    assert table["pairs"].tolist() == ["two seeds"] * 4 + ["two models"] * 2
    plain = table[(table["variant"] == "TopK") & (table["tokens"] == 6000)]
    for gain in ("gain", "gain_at_equal_variance"):
        assert_allclose(plain[f"recurs_{gain}"], 0, atol=1e-12)
        assert_allclose(plain[f"median_r_{gain}"], 0, atol=1e-12)
    assert not (lab.root / "training").joinpath("t6000-o0", "checkpoints").exists()
    made = {path: path.stat().st_mtime_ns for path in lab.root.rglob("*") if path.is_file()}
    pd.testing.assert_frame_equal(agreement.table(lab, range(2), tokens=6000), table)
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())


def test_variants_are_compared_at_equal_explained_variance() -> None:
    import agreement

    def pair(explained: float, recurs: float) -> dict[str, float]:
        return dict.fromkeys(agreement.MEASURES, recurs) | {"explained_variance": explained, "l0": 24, "alive": 1.0}

    pairs = list(combinations(range(3), 2))
    of_plain = [(0.6, 0.2), (0.7, 0.4), (0.8, 0.5)]
    numbers = {
        ("TopK", tokens): {p: pair(explained + 0.001 * sum(p), recurs) for p in pairs}
        for tokens, (explained, recurs) in zip((50, 100, 150), of_plain, strict=True)
    }
    numbers["better", 100] = {p: pair(0.65 + 0.001 * sum(p), 0.35) for p in pairs}
    numbers["beyond", 100] = {p: pair(0.9, 0.9) for p in pairs}
    table = pd.DataFrame(agreement._rows("two seeds", numbers, tokens=100)).set_index("variant")
    assert_allclose(table.loc["better", "recurs_gain"], -0.05)  # below the plain one after equally many tokens
    assert_allclose(table.loc["better", "recurs_gain_at_equal_variance"], 0.05)  # above it where that explains as much
    assert_allclose(table.loc["better", "recurs_gain_at_equal_variance_low"], 0.05, atol=1e-9)
    assert np.isnan(table.loc["beyond", "recurs_gain_at_equal_variance"])  # not extrapolated


def test_no_two_saes_of_the_study_of_agreement_begin_alike() -> None:
    import agreement

    saes = agreement.all_wanted(range(3), tokens=1000)
    assert len({sae.name for sae in saes}) == len(set(saes)) == 6 * 3 + 2 * 3 + 3 * 3
    of_models = [{sae.spec.seed for sae in saes if sae.model == model} for model in agreement.MODELS]
    assert not of_models[0] & of_models[1]


def test_late_models_are_the_shipped_ones_or_trained_as_they_were() -> None:
    import causes
    from laboratory import ARCHITECTURE, Trained
    from lengths import EARLY, LATE

    late = {level[:2]: sae.model for level, sae in causes.crossed(LATE).items()}
    assert late[0, 100] == "starter/seed0"
    assert late[1, 101] == "starter/seed1"
    trained = late[0, 101]
    assert isinstance(trained, Trained)
    config = json.loads(
        (Path(universality.__file__).parent / "models" / "starter" / "seed0" / "config.json").read_text()
    )
    settings = ModelTraining(epochs=trained.epochs, products=trained.products)
    assert settings.as_dict() == config["training"]
    assert ARCHITECTURE.as_dict().items() <= {**config["architecture"], "d_mlp": config["d_mlp"]}.items()
    assert not any(isinstance(sae.model, str) for sae in causes.crossed(EARLY).values())
