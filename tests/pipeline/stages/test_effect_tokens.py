"""The tokens of fingerprints are the models', whether or not the hook writes to the logits."""

from pathlib import Path

import numpy as np

from universality.config import load_config
from universality.features import FeatureStore
from universality.pipeline import RunFolder
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.stages.effect_tokens import effect_tokens


class Bare(OpenStores):
    """The stores of effects in place of the features': they hold no unembedding, as those of a hook in attention."""

    def __getitem__(self, path: Path) -> FeatureStore:
        return super().__getitem__(path.parents[1] / "effects" / f"{path.stem}.activations.h5")


def test_stores_without_an_unembedding_have_the_same_tokens(finished: Path) -> None:
    config, folder = load_config(finished / "config.yaml"), RunFolder(finished)
    with OpenStores() as stores, Bare() as bare:
        assert bare[folder.store("A", 128, 0)].unembedding() is None
        expected, found = (effect_tokens(config, folder, opened) for opened in (stores, bare))
        counted = np.flatnonzero(stores[folder.store("A", 128, 0)].unembedding().mask)
    for name in "AB":
        np.testing.assert_array_equal(found[name].entries, expected[name].entries)
        np.testing.assert_array_equal(found[name].entries, counted)
        assert found[name].identity == expected[name].identity
