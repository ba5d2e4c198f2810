"""Stores of a run: held-out documents, unembeddings, and the models that SAEs were trained on."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from run_commands import SMOKE, contents

from universality import FeatureStore
from universality.config import load_config
from universality.corpus import TokenBlocks, build_corpus
from universality.errors import MismatchError
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.collect_features import sample_documents


def test_held_out_documents_were_not_trained_on(finished: Path) -> None:
    config, folder = load_config(SMOKE), RunFolder(finished)
    with FeatureStore.open(folder.store("A", config.saes.widths[0], 0)) as store:
        used = {store.documents.split[i] for i in set(store.tokens.document.tolist())}
        assert store.tokens.position.min() == 1
    assert used == {"choose", "report"}


def test_a_model_is_stamped_with_its_own_unembedding_only(finished: Path) -> None:
    of = {name: [f for f in contents(finished, f"collect.{name}") if "unembedding-" in f] for name in "AB"}
    with FeatureStore.open(RunFolder(finished).store("A", 64, 0)) as store:
        assert of["A"] == [f"features/{store.unembedding().file_name}"]
    assert len(of["B"]) == 1
    assert of["A"] != of["B"]


@pytest.fixture(scope="module")
def held_out() -> TokenBlocks:
    corpus = build_corpus(max_documents=60, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4)
    return corpus.blocks.select("choose", "report")


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_neurons_are_stored_on_documents_of_both_halves(held_out: TokenBlocks, share: float) -> None:
    sampled = sample_documents(held_out, share)
    assert len(np.unique(sampled)) == len(sampled)
    for split in ("choose", "report"):
        half = np.unique(held_out.select(split).document)
        assert len(np.intersect1d(sampled, half)) == max(2, round(share * len(half)))


def test_a_half_of_one_document_gives_it(held_out: TokenBlocks) -> None:
    report = np.unique(held_out.select("report").document)[0]
    choose = np.unique(held_out.select("choose").document)[:3]
    few = held_out.take(np.flatnonzero(np.isin(held_out.document, [report, *choose])))
    assert report in sample_documents(few, 0.01)


def test_an_sae_of_other_weights_is_refused() -> None:

    from universality.pipeline.stages.collect_features import _check_trained_on
    from universality.sae import SAE

    weight = torch.eye(4)
    sae = SAE(
        W_enc=weight,
        W_dec=weight,
        b_enc=weight[0],
        b_dec=weight[0],
        architecture="relu",
        metadata={"model": {"hash": "a" * 64}},
    )
    _check_trained_on("s.h5", sae, SimpleNamespace(name="A", model_hash="a" * 64))
    with pytest.raises(MismatchError, match=r"s\.h5: its SAE was trained on model aaaaaaaaaaaa, and the model 'A' now"):
        _check_trained_on("s.h5", sae, SimpleNamespace(name="A", model_hash="b" * 64))
