"""Published explanations find the features of a store by model, layer, SAE and index, or say why not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy import sparse

from universality.features import FeatureStore
from universality.labels import PublishedLabel, PublishedLabels, attach

MakeStore = Callable[..., FeatureStore]


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[MakeStore]:
    opened = []

    def made(**provenance: Any) -> FeatureStore:
        opened.append(
            FeatureStore.from_csr(
                sparse.eye(4, format="csr"),
                tmp_path / f"{len(opened)}.h5",
                [1, 2, 3, 4],
                document=[0, 0, 1, 1],
                special_tokens=[],
                provenance=provenance,
            )
        )
        return opened[-1]

    yield made
    for store in opened:
        store.close()


def one(model: str = "gpt2-small", site: str = "6", sae: str = "res-jb", feature: int = 2) -> PublishedLabel:
    return PublishedLabel(model, site, sae, feature, f"feature {feature} of {model}", {"recall": 0.5}, "gpt-4o-mini")


def reasons(store: FeatureStore, *labels: PublishedLabel, **names: str) -> dict[str, int]:
    found = attach(PublishedLabels(labels), store, **names)
    assert sum(map(len, found.labels.values())) + sum(map(len, found.unmatched.values())) == len(labels)
    return {why: len(unmatched) for why, unmatched in found.unmatched.items()}


def test_stated_names_must_agree_exactly(make_store: MakeStore) -> None:
    store, names = make_store(), {"model": "gpt2-small", "site": "6", "sae": "res-jb"}
    labels = PublishedLabels(
        (one(), one(), one(feature=0), one(feature=4), one("gpt2"), one(site="7"), one(sae="res_post_32k-oai"))
    )
    found = attach(labels, store, **names)
    assert {feature: len(of_feature) for feature, of_feature in found.labels.items()} == {2: 2, 0: 1}
    assert {why: len(unmatched) for why, unmatched in found.unmatched.items()} == {
        "no such index: the store has 4 features": 1,
        "model 'gpt2', expected 'gpt2-small'": 1,
        "layer '7', expected '6'": 1,
        "SAE 'res_post_32k-oai', expected 'res-jb'": 1,
    }
    assert str(found).startswith("3 of 7 explanations matched, on 2 features\n1 not matched: ")
    frame = found.to_frame()
    assert frame.feature.tolist() == [0, 2, 2]
    assert frame["score recall"].tolist() == [0.5] * 3
    assert len(labels.to_frame()) == len(labels) == 7


def test_names_from_the_provenance(make_store: MakeStore) -> None:
    store = make_store(
        model={"name": "EleutherAI/Pythia-70m"}, site="blocks.3.hook_mlp_out", sae={"name": "EleutherAI/sae-70m"}
    )
    right = ("layers.3.mlp", "gpt_neox.layers.3.mlp", "3", "blocks.3.hook_mlp_out", "blocks.3.mlp.hook_out")
    assert not reasons(store, *(one("pythia-70m", site, "sae-70m") for site in right))
    wrong = ("layers.2.mlp", "layers.3", "layers.3.attn", "layers.3.mlp.act", "blocks.3.mlp.hook_post", "mlp", "")
    assert len(reasons(store, *(one("pythia-70m", site, "sae-70m") for site in wrong))) == len(wrong)
    (why,) = reasons(store, one("pythia-160m", "layers.3.mlp", "sae-70m"))
    assert why.startswith("model 'pythia-160m', and the store has 'EleutherAI/Pythia-70m'; if they are the same, state")
    (why,) = reasons(store, one("pythia-70m", "layers.2.mlp", "sae-70m"))
    assert why == (
        "layer 'layers.2.mlp', and the store has 'blocks.3.hook_mlp_out'; if they are the same, state it with site="
    )


def test_an_id_of_neuronpedia_names_all_three(make_store: MakeStore) -> None:
    store = make_store(model={"name": "A"}, site="?", sae={"neuronpedia_id": "gpt2-small/6-res-jb"})
    assert not reasons(store, one())
    assert reasons(store, one(site="7"), one(sae="res")) == {
        "layer '7', expected '6'": 1,
        "SAE 'res', expected 'res-jb'": 1,
    }


def test_what_the_store_does_not_record_is_asked_for(make_store: MakeStore) -> None:
    assert reasons(make_store(), one()) == {"the store does not record the name of its model; state it with model=": 1}
    assert reasons(make_store(), one(), model="gpt2-small") == {
        "the store does not record the layer of its hook; state it with site=": 1
    }
    assert reasons(make_store(sae={"hash": "ab"}), one(), model="gpt2-small", site="6") == {
        "the store does not record the name of its SAE; state it with sae=": 1
    }
