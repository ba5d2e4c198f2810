"""A feature that is the same stands in perfectly; one that is not costs what ablation costs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.statistics.planted_loss import HOOK, MATTER, N_MATTER, Planted, neuron_sae
from universality.activations import ModelSite
from universality.effects import edited_losses
from universality.effects.model_features import ModelFeatures
from universality.effects.repeated_passes import RepeatedPass
from universality.errors import MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.matching import Match, match
from universality.matching.nearest_partners import nearest
from universality.models.language_model import new_model
from universality.models.model_settings import ModelArchitecture
from universality.similarity import Similarity
from universality.statistics import Substitution, evaluation_halves, substitute
from universality.statistics.stand_ins import STAND_INS


def run(planted: Planted, other: str, **options: object) -> Substitution:
    return substitute(planted.features("own"), planted.features(other), planted.match(other), **options)


@pytest.fixture(scope="module")
def same(planted: Planted) -> Substitution:
    """All features that matter have a partner that is the same, at twice the scale."""
    return run(planted, "shared", threshold=0.999, n_pairs=12, blocks_a_pair=6)


@pytest.fixture(scope="module")
def wrong(planted: Planted) -> Substitution:
    """The features that matter have no partner that is the same; those that do not matter have."""
    return run(planted, "other", threshold=-1.0, n_pairs=4, blocks_a_pair=6)


def test_an_equal_partner_stands_in_perfectly(same: Substitution) -> None:
    for features in ("best", "all shared"):
        assert same.of(features, "nothing").cost > 0.001
        for stand_in in ("code", "direction"):
            row = same.of(features, stand_in)
            assert row.kept == pytest.approx(1, abs=0.01), (features, stand_in)
            assert row.kept_low == pytest.approx(row.kept_high, abs=0.05)
            assert abs(row.cost) < 1e-4
    assert same.n_shared == MATTER.size
    assert same.map_explained == pytest.approx(1)
    scales = same.to_frame().query("sample == 'best' and stand_in == 'code'")
    assert len(scales) == 6
    assert set(scales["row"]) < set(MATTER)


def test_wrong_stand_ins_cost_what_ablation_costs(same: Substitution) -> None:
    for features in ("best", "all shared"):
        assert same.of(features, "random code").kept < 0.5
        assert same.of(features, "second-best code").kept < 0.6
        assert same.of(features, "nothing").kept == 0


def test_the_best_neuron_is_the_neuron_of_the_feature(same: Substitution) -> None:
    """Each feature is half of one neuron: above its mean or below."""
    rows = same.to_frame().query("sample == 'best' and stand_in == 'best neuron'")
    assert (rows["source"] == rows["row"] % 64).all()
    assert (rows["source"] < N_MATTER).all()
    kept = same.of("best", "best neuron").kept
    assert kept > 0.2
    assert abs(kept - 1) > 0.01  # it is not the feature


def test_partners_that_share_only_what_does_not_matter_keep_less(same: Substitution, wrong: Substitution) -> None:
    """All features are replaced: only those that matter cost anything, and their partners are mixtures."""
    assert wrong.n_shared == 128
    assert wrong.of("all shared", "nothing").cost > 0.001
    assert wrong.of("all shared", "code").kept < 0.95 < same.of("all shared", "code").kept
    best = wrong.to_frame().query("sample == 'best'")
    assert (best["row"] % 64 >= N_MATTER).all()
    assert best["cost"].abs().max() < 1e-5  # they do not matter
    assert np.isnan(wrong.of("best", "code").kept) or abs(wrong.of("best", "nothing").cost) < 1e-6


def test_a_direction_in_another_basis_is_mapped_back(planted: Planted, tmp_path: Path) -> None:
    """Model B is A with its neurons in another order; decoder rows agree only through the map."""
    order = np.random.default_rng(0).permutation(64)
    blocks, site = planted.blocks, planted.site
    architecture = ModelArchitecture(n_layers=1, d_model=32, n_heads=2, d_mlp=64)
    model = new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="B")
    model.bridge.load_state_dict(site.model.bridge.state_dict())
    permuted = permuted_neurons(model, order)
    other = ModelSite(permuted, HOOK)
    assert torch.allclose(other.read(blocks), site.read(blocks)[:, order], atol=1e-5)
    mean = other.read(blocks.select("choose")).mean(dim=0)
    their_sae = neuron_sae(mean, torch.eye(64))
    collect(other, {tmp_path / "b.h5": their_sae}, blocks, mantissa_bits=23)
    with FeatureStore.open(tmp_path / "b.h5") as theirs:
        own = planted.stores["own"]
        found = match(Similarity.activation(theirs, own).restrict(evaluation_halves(own).choose))  # A on the other side
        a, b = planted.features("own"), ModelFeatures(other, their_sae, theirs, blocks)
        kinds = [substitute(a, b, found, threshold=0.999, n_pairs=1, map_kind=kind) for kind in ("affine", "identity")]
    assert kinds[0].of("all shared", "direction").kept == pytest.approx(1, abs=0.01)
    assert kinds[0].of("all shared", "code").kept == pytest.approx(1, abs=0.01)
    assert kinds[1].of("all shared", "direction").kept < 0.5
    assert kinds[1].map_explained < 0.5
    assert (kinds[0].model, kinds[0].other) == ("A", "B")


def test_costs_are_those_of_replaced_codes(planted: Planted, tmp_path: Path) -> None:
    """With all blocks drawn, a cost is the rise of the whole loss; stand-ins fire where the feature does not."""
    site, blocks, report = planted.site, planted.blocks, planted.blocks.select("report")
    codes = planted.sae.encode(site.read(blocks)).toarray()
    rare = replace(planted.sae, b_enc=-torch.from_numpy(np.quantile(codes, 0.99, axis=0)).float())
    collect(site, {tmp_path / "rare.h5": rare}, blocks, mantissa_bits=23)
    with FeatureStore.open(tmp_path / "rare.h5") as own:
        theirs = planted.stores["shared"]
        sim = Similarity.activation(own, theirs).restrict(evaluation_halves(own).choose)
        pair = Match(
            "nearest", None, np.array([3]), sim.topk(1)[0][[3], 0], sim.topk(1)[1][[3], 0], None, sim.dead_rows,
            sim.dead_cols, nearest(sim), sim.provenance,
        )  # fmt: skip
        a, b = ModelFeatures(site, rare, own, blocks), planted.features("shared")
        found = substitute(a, b, pair, threshold=2.0, n_pairs=1, blocks_a_pair=2 * len(report))
    old, other = rare.encode(site.read(report)), planted.saes["shared"].encode(site.read(report))
    chosen = blocks.select("choose")
    f, g = (sae.encode(site.read(chosen)).toarray() for sae in (rare, planted.saes["shared"]))
    scale = f[:, 3] @ g[:, pair.cols[0]] / (g[:, pair.cols[0]] @ g[:, pair.cols[0]])
    new = old.tolil()
    new[:, 3] = scale * other[:, pair.cols[0]].toarray()
    plain = edited_losses(site, report, []).astype(np.float64)
    edited = RepeatedPass(site, report).losses(rare.contribution(new.tocsr() - old))
    row = next(row for row in found.pairs if row.stand_in == "code")
    assert row.n_firings == (old[:, 3].toarray() > 0).sum() > 3
    assert row.cost == pytest.approx((edited - plain).sum() / row.n_firings, rel=0.02)
    assert abs(row.elsewhere) > 0.1 * abs(row.cost)
    assert row.source == pair.cols[0]


def permuted_neurons(model, order: np.ndarray):
    mlp = model.bridge.blocks[0].mlp
    with torch.no_grad():
        for module, writes in ((getattr(mlp, "in").original_component, True), (mlp.out.original_component, False)):
            weight = module.weight
            axis = next(i for i, n in enumerate(weight.shape) if n == 64)
            weight.copy_(weight.index_select(axis, torch.from_numpy(order)))
            if writes and module.bias is not None:
                module.bias.copy_(module.bias[torch.from_numpy(order)])
    return replace(model)


def test_tables(same: Substitution) -> None:
    frame = same.to_frame()
    assert len(frame) == len(STAND_INS) * 12
    assert list(same.pooled_frame()["features"].unique()) == ["best", "spread", "all shared"]
    assert (frame.query("stand_in in ('nothing', 'direction')")["elsewhere"] == 0).all()
    assert (frame["n_firings"] > 0).any()
    assert json.loads(json.dumps(same.as_dict(), allow_nan=False))["n_shared"] == MATTER.size
    with pytest.raises(UniversalityError, match=r"no stand-in 'code' of features 'none'; measured were all shared"):
        same.of("none", "code")


def test_no_partner_above_the_threshold(planted: Planted) -> None:
    found = run(planted, "shared", threshold=2.0, n_pairs=2, blocks_a_pair=2)
    assert found.n_shared == 0
    assert "all shared" not in set(found.pooled_frame()["features"])


def test_bad_input_is_refused(planted: Planted, tmp_path: Path) -> None:
    a, b, found = planted.features("own"), planted.features("shared"), planted.match("shared")
    with pytest.raises(MismatchError, match="neither side of the match is this store"):
        substitute(a, planted.features("other"), found)
    with pytest.raises(UniversalityError, match="at least 1 and a finite threshold, found 0"):
        substitute(a, b, found, n_pairs=0)
    with pytest.raises(UniversalityError, match="200 random features were asked for"):
        substitute(a, b, found, draws=200)
    transcoder = replace(a.require_sae(), transcoder=True, apply_b_dec_to_input=False)
    collect(a.site, {tmp_path / "t.h5": transcoder}, a.blocks, site_out=a.site)
    with FeatureStore.open(tmp_path / "t.h5") as store:
        reads = ModelFeatures(a.site, transcoder, store, a.blocks, a.site)
        with pytest.raises(UniversalityError, match="a transcoder reads and writes elsewhere"):
            substitute(reads, b, found)
