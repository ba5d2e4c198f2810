"""First-order effects are the planted ones, and a stopped collection resumes to the same bytes."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from tests.effects.conftest import ARCHITECTURE, random_sae
from tests.effects.planted import COUNTS, planted
from tests.effects.stores import Collected, collected, neurons
from universality.activations import ModelSite
from universality.activations.joint_site import JointSite
from universality.corpus import TokenBlocks
from universality.effects import collect_effects, read_gradient_norms
from universality.effects.loss_gradients import loss_gradients
from universality.errors import MismatchError, ModelError
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.features.storage import writer as writer_module
from universality.models.language_model import new_model
from universality.sae import SAE


class Stopping(SAE):
    """An SAE at which a run is stopped: Ctrl-C on the third batch that it encodes."""

    def encode(self, x: torch.Tensor):  # type: ignore[no-untyped-def,override]
        object.__setattr__(self, "batches", getattr(self, "batches", 0) + 1)
        if self.batches == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return super().encode(x)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    return collected(tmp_path_factory.mktemp("toys"), planted({**COUNTS, "curved": 4, "hidden": 4}))


def test_effects_are_those_computed_by_hand(toys: Collected) -> None:
    for toy in (toys.pair.a, toys.pair.b):
        store = toys.effects[toy.site.name]
        store.verify()
        expected = toy.first_order(toys.pair.blocks)
        assert_allclose(store.csr().toarray(), expected, atol=2e-6)
        assert np.abs(expected).max() > 0.3


def test_a_store_of_effects_is_that_of_activations_but_for_its_values(toys: Collected) -> None:
    activations, effects, norms = toys.activations["A"], toys.effects["A"], toys.norms["A"]
    assert activations.tokens_hash == effects.tokens_hash == norms.tokens_hash
    assert activations.dictionary_hash == effects.dictionary_hash
    assert effects.provenance == {**activations.provenance, "quantity": "effect"}
    assert (activations.quantity, effects.quantity, norms.quantity) == ("activation", "effect", "gradient_norm")
    assert "quantity='effect'" in repr(effects)
    assert set(zip(*effects.csr().nonzero(), strict=True)) <= set(zip(*activations.csr().nonzero(), strict=True))
    last = np.cumsum(toys.pair.blocks.length - 1) - 1
    assert effects.csr()[last].nnz == 0 < activations.csr()[last].nnz


def test_codes_of_a_store_stand_in_for_encoding(toys: Collected, tmp_path: Path) -> None:
    toy, blocks = toys.pair.a, toys.pair.blocks
    path = tmp_path / "known.h5"
    collect_effects(toy.site, {path: toy.sae}, blocks, activations={path: toys.activations["A"]})
    with FeatureStore.open(path) as store:
        assert_array_equal(store.csr().toarray(), toys.effects["A"].csr().toarray())


@pytest.mark.parametrize(
    ("name", "n_blocks", "message"),
    [
        ("effects", None, "expected a store of activations, found one of quantity 'effect'"),
        ("B", None, "collected from the model"),
        ("A", 2, "which are not the"),
    ],
)
def test_codes_of_something_else_are_refused(
    toys: Collected, tmp_path: Path, name: str, n_blocks: int | None, message: str
) -> None:
    toy, blocks = toys.pair.a, toys.pair.blocks
    known = toys.effects["A"] if name == "effects" else toys.activations[name]
    given = blocks if n_blocks is None else blocks.take(range(n_blocks))
    with pytest.raises(MismatchError, match=message):
        collect_effects(toy.site, {tmp_path / "x.h5": toy.sae}, given, activations={tmp_path / "x.h5": known})
    assert not any(tmp_path.iterdir())


def test_norms_are_those_of_the_gradient(toys: Collected) -> None:
    site = toys.pair.a.site
    gradient = loss_gradients(site, toys.pair.blocks, [site.hook])[1][site.hook]
    assert_allclose(read_gradient_norms(toys.norms["A"]), gradient.norm(dim=1).numpy(), rtol=1e-4, atol=1e-7)
    with pytest.raises(MismatchError, match="expected a store of quantity 'gradient_norm', found 'effect'"):
        read_gradient_norms(toys.effects["A"])


def test_effects_of_neurons(toys: Collected, tmp_path: Path) -> None:
    site = toys.pair.a.site
    _, effects = neurons(tmp_path, toys.pair.a, toys.pair)
    x, gradients = loss_gradients(site, toys.pair.blocks, [site.hook])
    assert_allclose(effects.csr().toarray(), (-x * gradients[site.hook]).numpy(), atol=1e-6)


def test_normalised_tokens_have_effects_in_their_own_units(
    site: ModelSite, sae: SAE, blocks: TokenBlocks, tmp_path: Path
) -> None:
    scaled = replace(sae, normalize_activations="layer_norm")
    collect_effects(site, {tmp_path / "e.h5": scaled}, blocks)
    x, gradients = loss_gradients(site, blocks, [site.hook])
    expected = -(scaled.contribution(scaled.encode(x), like=x) * gradients[site.hook]).sum(dim=1)
    with FeatureStore.open(tmp_path / "e.h5") as effects:
        assert_allclose(effects.csr().sum(axis=1).A1, expected.numpy(), rtol=1e-3, atol=1e-6)
    with pytest.raises(MismatchError, match="normalises each token: pass"):
        scaled.contribution_along(scaled.encode(x), x)
    with pytest.raises(MismatchError, match="expected vectors of"):
        sae.contribution_along(sae.encode(x), x[:3])


def test_a_transcoder_has_effects_where_it_writes(
    sae: SAE, blocks: TokenBlocks, site: ModelSite, tmp_path: Path
) -> None:
    reads = ModelSite(site.model, "blocks.1.mlp.hook_in")
    writes = ModelSite(site.model, "blocks.1.hook_mlp_out")
    transcoder = replace(sae, transcoder=True, apply_b_dec_to_input=False)
    norms = tmp_path / "norms.h5"
    collect_effects(reads, {tmp_path / "e.h5": transcoder}, blocks, site_out=writes, gradient_norms=norms)
    x, gradients = loss_gradients(reads, blocks, [writes.hook])
    expected = -(sae.contribution(transcoder.encode(x)) * gradients[writes.hook]).sum(dim=1)
    with FeatureStore.open(tmp_path / "e.h5") as effects, FeatureStore.open(norms) as norm:
        assert_allclose(effects.csr().sum(axis=1).A1, expected.numpy(), rtol=1e-3, atol=1e-6)
        assert (effects.provenance["site"], effects.provenance["site_out"]) == (reads.hook, writes.hook)
        assert norm.provenance["site"] == writes.hook
    with pytest.raises(MismatchError, match="give the model at that hook as site_out"):
        collect_effects(reads, {tmp_path / "f.h5": transcoder}, blocks)


def test_a_stopped_collection_resumes_to_the_same_contents(
    site: ModelSite, blocks: TokenBlocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BUFFER", 500)
    saes = {"a": random_sae(site.d_in, 48, 1), "b": random_sae(site.d_in, 40, 2)}
    whole = {tmp_path / f"{name}.h5": sae for name, sae in saes.items()}
    collect_effects(site, whole, blocks, batch_blocks=5, gradient_norms=tmp_path / "n.h5")
    (tmp_path / "resumed").mkdir()
    resumed = {tmp_path / "resumed" / path.name: sae for path, sae in whole.items()}
    norms = tmp_path / "resumed" / "n.h5"
    stopping = {path: Stopping(**vars_of(sae)) for path, sae in resumed.items()}
    with suppress(KeyboardInterrupt):
        collect_effects(site, stopping, blocks, batch_blocks=5, gradient_norms=norms, resume=True)
    assert any(path.name.endswith(".segments") for path in norms.parent.iterdir())
    collect_effects(site, resumed, blocks, batch_blocks=5, gradient_norms=norms, resume=True)
    for path in [*resumed, norms]:
        with FeatureStore.open(path) as store, FeatureStore.open(tmp_path / path.name) as expected:
            assert store.content_hash() == expected.content_hash()
            assert store.provenance == expected.provenance


def vars_of(sae: SAE) -> dict:  # type: ignore[type-arg]
    return {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "architecture", "k")}


def test_effects_of_a_segment_are_sums(site: ModelSite, sae: SAE, blocks: TokenBlocks, tmp_path: Path) -> None:
    """Segments of two tokens each, the last of one where the number is odd."""
    column = np.arange(blocks.n_ctx)
    segment = np.where(blocks.valid, (column + 1) // 2, 0).astype(np.int32)
    length = (blocks.length - 1 + 1) // 2 + 1
    common = replace(blocks, tokens=np.tile(column.astype(np.int32), (len(blocks), 1)), length=length.astype(np.int32))
    with_segments = replace(blocks, segment=segment)
    collect_effects(site, {tmp_path / "t.h5": sae}, blocks)
    collect_effects(site, {tmp_path / "s.h5": sae}, with_segments, common=common)
    with FeatureStore.open(tmp_path / "t.h5") as tokens, FeatureStore.open(tmp_path / "s.h5") as segments:
        assert segments.provenance["segments"]["pool"] == "sum"
        assert_allclose(segments.csr()[0].toarray(), tokens.csr()[:2].sum(axis=0), atol=1e-7)
        assert_allclose(segments.csr().sum(axis=0), tokens.csr().sum(axis=0), atol=1e-4)


def test_sites_without_effects_are_refused(site: ModelSite, sae: SAE, blocks: TokenBlocks, tmp_path: Path) -> None:
    silent = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="S")
    with torch.no_grad():
        silent.bridge.blocks[1].mlp.out.original_component.weight.zero_()
    out = {tmp_path / "e.h5": None}
    with pytest.raises(ModelError, match="nothing that model 'S' predicts depends on"):
        collect_effects(ModelSite(silent, "blocks.1.mlp.hook_post"), out, blocks)
    foreign = replace(sae, metadata={"model": {"name": "B", "hash": "0" * 64}})
    with pytest.raises(MismatchError, match="trained on model 'B'"):
        collect_effects(site, {tmp_path / "e.h5": foreign}, blocks)
    other = ModelSite(new_model(ARCHITECTURE, d_vocab=300, n_ctx=32, init_seed=1, name="B"), site.hook)
    with pytest.raises(ModelError, match="need the model itself"):
        collect_effects(JointSite({"A": site, "B": other}, {"A": 1.0, "B": 1.0}), out, blocks)
    assert list(tmp_path.iterdir()) == []


def test_effects_are_of_the_codes_that_collect_writes(
    site: ModelSite, sae: SAE, blocks: TokenBlocks, tmp_path: Path
) -> None:
    collect(site, {tmp_path / "a.h5": sae}, blocks)
    collect_effects(site, {tmp_path / "e.h5": sae}, blocks)
    with FeatureStore.open(tmp_path / "a.h5") as activations, FeatureStore.open(tmp_path / "e.h5") as effects:
        codes, nats = activations.csr(), effects.csr()
        followed = np.ones(codes.shape[0], bool)
        followed[np.cumsum(blocks.length - 1) - 1] = False
        assert_array_equal(codes[followed].indices, nats[followed].indices)
