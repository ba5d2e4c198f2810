"""Shortlists and the features of nulls: which they are, and how many are needed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from universality.errors import ConfigError, UniversalityError
from universality.features import FeatureStore
from universality.labels import Concept, FeatureLabel, LabelledModel, Labels, LiteratureSettings
from universality.labels.concept_search import Shortlist, find_shortlists

N = 200
SETTINGS = LiteratureSettings(shortlist=4)
CONCEPT = Concept("unheard of", "something", "someone")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelledModel]:
    """Features of which every fifth one is twenty times as frequent as the others."""
    path: Path = tmp_path_factory.mktemp("search") / "a.h5"
    tokens = {"token": [1, 2], "document": [0, 1], "special_tokens": []}
    with FeatureStore.from_csr(sparse.csr_matrix((2, N), dtype=np.float32), path, **tokens) as store:
        labels = {
            j: FeatureLabel(j, f"feature{j}", "answered", density=0.2 if j % 5 == 0 else 0.01, score_rows={"top": (j,)})
            for j in range(N)
        }
        labels[0] = replace(labels[0], explanation="")
        labels[1] = replace(labels[1], score_rows={"top": ()})
        yield LabelledModel(store, Labels({"store": store.content_hash()}, labels), lambda ids: ["x"] * len(ids))


def similar(texts: Sequence[str]) -> npt.ArrayLike:
    """Vectors by which the concept resembles feature 2 most, then 3, and so on."""
    angles = [0.0, *(0.001 * int(re.findall(r"\d+", text)[0]) for text in texts[1:])]
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def shortlist(model: LabelledModel, settings: LiteratureSettings = SETTINGS) -> Shortlist:
    (found,) = find_shortlists([CONCEPT], "A", model, settings, similar)
    return found


def test_the_most_similar_features_that_can_be_scored(model: LabelledModel) -> None:
    found = shortlist(model)
    assert found.features.tolist() == [2, 3, 4, 5]
    assert found.similarity == pytest.approx(np.cos([0.002, 0.003, 0.004, 0.005]))


def test_the_null_shares_no_feature_and_keeps_the_next_out(model: LabelledModel) -> None:
    found = shortlist(model)
    assert found.null.shape == (20, 4)
    assert len(np.unique(found.null)) == found.null.size
    assert found.null.min() >= 22  # after the shortlist and four times as many
    assert found.null.tolist() != shortlist(model, LiteratureSettings(shortlist=4, seed=1)).null.tolist()
    assert found.null.tolist() == shortlist(model).null.tolist()


def test_null_features_have_the_density_of_those_they_stand_for(model: LabelledModel) -> None:
    found = shortlist(model)
    frequent = found.null % 5 == 0
    assert frequent.all(axis=0).tolist() == [False, False, False, True]
    assert not frequent[:, :3].any()
    assert found.density_ratio == pytest.approx(1)
    many = LiteratureSettings(shortlist=9)  # 40 frequent ones are needed, and there are 37
    assert shortlist(model, many).density_ratio == pytest.approx(20)
    assert len(np.unique(shortlist(model, many).null)) == 180


def test_how_many_labels_a_null_needs(model: LabelledModel) -> None:
    with pytest.raises(UniversalityError, match=r"A: 198 features have .* expected at least 210, shortlist x \(repl"):
        shortlist(model, LiteratureSettings(shortlist=10))


def test_draws_that_could_find_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"18 draws cannot give a p of 0.05; expected at least 19"):
        LiteratureSettings(replicates=18)
    with pytest.raises(ConfigError, match=r"20 draws cannot give a p of 0.01; expected at least 99"):
        LiteratureSettings(level=0.01)
    assert LiteratureSettings(replicates=99, level=0.01).replicates == 99
