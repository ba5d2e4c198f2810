"""What is collected is what the SAE makes of each token's activation, also where a run was stopped in between."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from universality.activations import ModelSite, Site, harvest, rows_of
from universality.corpus import TokenBlocks, build_corpus
from universality.errors import MismatchError
from universality.features import Dictionary, FeatureStore
from universality.features.collection import collect
from universality.features.storage import writer as writer_module
from universality.models.language_model import new_model
from universality.models.model_settings import ModelArchitecture
from universality.sae import SAE

HOOK = "blocks.0.mlp.hook_post"


class Stopping(SAE):
    """An SAE at which a run is stopped: Ctrl-C on the fifth batch that it encodes."""

    def encode(self, x: Tensor):  # type: ignore[no-untyped-def,override]
        object.__setattr__(self, "batches", getattr(self, "batches", 0) + 1)
        if self.batches == 5:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return super().encode(x)


@pytest.fixture(scope="module")
def blocks() -> TokenBlocks:
    corpus = build_corpus(max_documents=30, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4)
    return corpus.blocks.take(np.arange(80))


@pytest.fixture(scope="module")
def site(blocks: TokenBlocks) -> Site:
    architecture = ModelArchitecture(d_model=32, n_heads=2, d_mlp=64)
    model = new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="A")
    return ModelSite(model, HOOK)


@pytest.fixture(scope="module")
def activations(site: Site, blocks: TokenBlocks) -> Tensor:
    return torch.cat([acts["A"] for _, acts in harvest({"A": site}, blocks, 7)])


def sae(seed: int, k: int, kind: type[SAE] = SAE) -> SAE:
    torch.manual_seed(seed)
    return kind(torch.randn(64, 90), torch.zeros(90), torch.randn(90, 64), torch.zeros(64), "topk", k)


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BUFFER", 9000)


def test_rows_are_encoded_activations(tmp_path: Path, site: Site, blocks: TokenBlocks, activations: Tensor) -> None:
    chosen, rows = sae(1, 6), rows_of(blocks)
    collect(site, {tmp_path / "a.h5": chosen, tmp_path / "n.h5": None}, blocks, batch_blocks=7)
    with FeatureStore.open(tmp_path / "a.h5") as store, FeatureStore.open(tmp_path / "n.h5") as neurons:
        store.verify()
        neurons.verify()
        assert_allclose(store.csr().toarray(), chosen.encode(activations).toarray(), atol=1e-5)
        assert_allclose(neurons.csr().toarray(), activations.numpy(), atol=1e-6)
        for name in ("token", "document", "position"):
            assert_array_equal(getattr(store.tokens, name), getattr(rows, name))
        assert_array_equal(store.tokens.kind_names, np.array(blocks.documents.kind)[rows.document])
        assert store.documents == blocks.documents
        assert store.tokens_hash == neurons.tokens_hash
        assert store.provenance["sae"]["hash"] == chosen.hash
        assert neurons.provenance["sae"] is None
        assert store.dictionary is not None
        assert_array_equal(store.dictionary.decoder, chosen.W_dec.numpy())


@pytest.mark.usefixtures("small_buffer")
def test_a_stopped_collection_resumes_to_the_same_contents(tmp_path: Path, site: Site, blocks: TokenBlocks) -> None:
    """Two stores that have committed unlike many rows when the run is stopped."""
    dense, sparse = sae(1, 30), sae(2, 3)
    expected = {tmp_path / "dense.h5": dense, tmp_path / "sparse.h5": sparse}
    collect(site, expected, blocks, batch_blocks=7)
    resumed = {tmp_path / "resumed" / path.name: sae for path, sae in expected.items()}
    (tmp_path / "resumed").mkdir()
    for _ in range(2):
        planted = [sae(1, 30, Stopping), sae(2, 3)]
        with suppress(KeyboardInterrupt):
            collect(site, dict(zip(resumed, planted, strict=True)), blocks, batch_blocks=7, resume=True)
        assert "dense.h5.segments" in {path.name for path in (tmp_path / "resumed").iterdir()}
    collect(site, resumed, blocks, batch_blocks=7, resume=True)
    for path, other in zip(expected, resumed, strict=True):
        with FeatureStore.open(path) as whole, FeatureStore.open(other) as store:
            assert store.content_hash() == whole.content_hash()
            assert store.provenance == whole.provenance


@pytest.mark.usefixtures("small_buffer")
def test_another_sae_does_not_resume(tmp_path: Path, site: Site, blocks: TokenBlocks) -> None:
    path = tmp_path / "a.h5"
    with suppress(KeyboardInterrupt):
        collect(site, {path: sae(1, 30, Stopping)}, blocks, batch_blocks=7, resume=True)
    with pytest.raises(MismatchError, match="begun for another store: provenance"):
        collect(site, {path: sae(3, 30)}, blocks, batch_blocks=7, resume=True)
    collect(site, {path: sae(3, 30)}, blocks, batch_blocks=7, resume=True, overwrite=True)
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]


def test_rounded_values_are_near_and_said_to_be(tmp_path: Path, site: Site, blocks: TokenBlocks) -> None:
    collect(site, {tmp_path / "a.h5": sae(1, 6)}, blocks)
    collect(site, {tmp_path / "b.h5": sae(1, 6)}, blocks, mantissa_bits=10)
    with FeatureStore.open(tmp_path / "a.h5") as exact, FeatureStore.open(tmp_path / "b.h5") as rounded:
        rounded.verify()
        assert (exact.mantissa_bits, rounded.mantissa_bits) == (23, 10)
        assert_allclose(rounded.csr().toarray(), exact.csr().toarray(), rtol=2.0**-11)
    assert (tmp_path / "b.h5").stat().st_size < 0.9 * (tmp_path / "a.h5").stat().st_size


def test_an_sae_of_another_tool_need_not_say_how_it_was_trained(
    tmp_path: Path, site: Site, blocks: TokenBlocks
) -> None:
    for training, seed in (("by hand", None), ({"seed": 3}, 3), (None, None)):
        chosen = replace(sae(1, 6), metadata={"training": training})
        collect(site, {tmp_path / f"{seed}{training}.h5": chosen}, blocks.take(np.arange(8)), batch_blocks=7)
        with FeatureStore.open(tmp_path / f"{seed}{training}.h5") as store:
            assert store.provenance["sae"] == {"hash": chosen.hash, "architecture": "topk", "width": 90, "seed": seed}


def test_what_logit_weights_leave_out_is_recorded(tmp_path: Path, site: Site, blocks: TokenBlocks) -> None:
    part = blocks.take(np.arange(3))
    collect(site, {tmp_path / "with.h5": sae(1, 3)}, part, unembedding=site.unembedding(blocks, 0))
    collect(site, {tmp_path / "without.h5": sae(1, 3)}, part)
    with FeatureStore.open(tmp_path / "with.h5") as store, FeatureStore.open(tmp_path / "without.h5") as other:
        assert store.provenance["logit_weights"]["left_out"][0] == "scale of the final norm (held fixed)"
        assert "logit_weights" not in other.provenance


def transcoder(d_in: int = 32, d_out: int = 64) -> SAE:
    torch.manual_seed(3)
    weights = (torch.randn(d_in, 90), torch.zeros(90), torch.randn(90, d_out), torch.zeros(d_out))
    return SAE(*weights, "topk", 4, apply_b_dec_to_input=False, transcoder=True)


def test_a_store_of_a_transcoder_states_both_hooks(site: ModelSite, blocks: TokenBlocks, tmp_path: Path) -> None:
    """It writes the neurons, from the residual stream: decoder rows are neurons, and go through W_out to the logits."""
    read, given = ModelSite(site.model, "blocks.0.hook_resid_pre"), transcoder()
    collect(read, {tmp_path / "t.h5": given, tmp_path / "n.h5": None}, blocks, site_out=site)
    collect(site, {tmp_path / "s.h5": sae(1, 5)}, blocks)
    with FeatureStore.open(tmp_path / "t.h5") as store, FeatureStore.open(tmp_path / "s.h5") as plain:
        assert (store.provenance["site"], store.provenance["site_out"]) == (read.hook, site.hook)
        assert (store.site_written, plain.site_written) == (site.hook, site.hook)
        assert "site_out" not in plain.provenance
        assert store.dictionary is not None
        assert store.dictionary.encoder is not None
        assert store.dictionary.residual is not None
        assert (store.dictionary.decoder.shape, store.dictionary.encoder.shape) == ((90, 64), (90, 32))
        W_out = site.model.bridge.blocks[0].mlp.W_out.detach().numpy()
        assert_allclose(store.dictionary.residual, given.W_dec.numpy() @ W_out, atol=1e-4)
        expected = given.encode(torch.cat([acts["A"] for _, acts in harvest({"A": read}, blocks)]))
        assert_allclose(store.rows(slice(0, 50)).toarray(), expected[:50].toarray(), atol=1e-4)
        store.verify()
    with FeatureStore.open(tmp_path / "n.h5") as axes:
        assert axes.site_written == read.hook
    versions = {name: h5py.File(tmp_path / f"{name}.h5").attrs["format-version"] for name in "tns"}
    assert versions == {"t": 2, "n": 1, "s": 1}


def test_sites_that_do_not_fit_a_transcoder_are_refused(site: ModelSite, blocks: TokenBlocks, tmp_path: Path) -> None:
    read, path = ModelSite(site.model, "blocks.0.hook_resid_pre"), tmp_path / "t.h5"
    with pytest.raises(MismatchError, match=r"t\.h5: a transcoder reads at .* and writes elsewhere; give the"):
        collect(read, {path: transcoder()}, blocks)
    with pytest.raises(MismatchError, match=r"writes 48 activations a token of model A, site_out has 64 at"):
        collect(read, {path: transcoder(d_out=48)}, blocks, site_out=site)
    with pytest.raises(MismatchError, match="an SAE writes where it reads; give site_out for transcoders alone"):
        collect(site, {path: sae(1, 5)}, blocks, site_out=read)
    refused = pytest.raises(MismatchError, match=r"encoder must be \[3, 2\] as the decoder is, found \[3, 4\]")
    with FeatureStore.create(path, 3, {"site": "x"}) as writer, refused:
        writer.finish(Dictionary(np.ones((3, 2)), np.ones((3, 4))))
