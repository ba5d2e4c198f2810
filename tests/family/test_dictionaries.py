"""Stores that do not belong together are refused, each with its reason."""

from collections.abc import Callable

import numpy as np
import pytest

from universality.errors import MismatchError, UniversalityError
from universality.family import families
from universality.features.storage.store import FeatureStore

WriteStore = Callable[..., FeatureStore]


@pytest.mark.parametrize("order", [(1, 0), (1, 1), (0, 2, 1)])
def test_widths_that_do_not_rise_are_refused(stores: list[FeatureStore], order: tuple[int, ...]) -> None:
    with pytest.raises(MismatchError, match="give the stores by rising width"):
        families([stores[i] for i in order])


def test_stores_that_do_not_belong_together_are_refused(
    plants: tuple, write_store: Callable[..., FeatureStore]
) -> None:
    narrow, middle = plants[:2]
    a = write_store("a", narrow.x, narrow.decoder)
    other = {
        "model nnnnnnnn, but .* has mmmmmmmm": {"model": "n"},
        "site elsewhere, but": {"site": "elsewhere"},
        "both stores must see the same tokens": {"token_seed": 1},
    }
    for i, (message, change) in enumerate(other.items()):
        b = write_store(f"b{i}", middle.x, middle.decoder, **change)
        with pytest.raises(MismatchError, match=message):
            families([a, b])
    with pytest.raises(MismatchError, match=r"decoder rows of width 128, but .* has 256"):
        families([a, write_store("short", middle.x, middle.decoder[:, :128])])


def test_a_store_without_decoder_rows_is_refused(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    a, b = (write_store(str(i), plants[i].x, None if i else plants[i].decoder) for i in (0, 1))
    with pytest.raises(UniversalityError, match=r"1\.h5: holds no dictionary"):
        families([a, b])


def test_effects_are_refused(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    a, b = (write_store(str(i), plants[i].x, plants[i].decoder, quantity="effect") for i in (0, 1))
    with pytest.raises(MismatchError, match=r"0\.h5: holds values of quantity 'effect', families are built from act"):
        families([a, b])


def test_a_dead_dictionary_is_refused(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    a = write_store("a", np.zeros_like(plants[0].x), plants[0].decoder)
    b = write_store("b", plants[1].x, plants[1].decoder)
    with pytest.raises(MismatchError, match=r"a\.h5: every one of its 5 features is dead"):
        families([a, b])


def test_stores_that_are_no_other_seed_are_refused(
    stores: list[FeatureStore], plants: tuple, write_store: WriteStore
) -> None:
    x, decoder = plants[1].x, plants[1].decoder
    eleven = write_store("eleven", np.hstack([x, x[:, :1]]), np.vstack([decoder, decoder[:1]]))
    with pytest.raises(MismatchError, match=r"11 features, expected one of the families' widths, 5, 10, 21"):
        families(stores, reseeded=[eleven])
    with pytest.raises(MismatchError, match="itself, expected an SAE of another seed"):
        families(stores, reseeded=[stores[1]])
    foreign = write_store("foreign", x, decoder[::-1].copy(), model="n")
    with pytest.raises(MismatchError, match="model nnnnnnnn"):
        families(stores, reseeded=[foreign])
