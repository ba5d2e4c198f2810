"""Candidate edges found on a torch device equal those of the compiled loops; here the device is torch's CPU."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from tests.similarity.limited_memory import LimitedMemory  # noqa: E402
from universality.errors import DeviceWarning, UniversalityError  # noqa: E402
from universality.execution import SERIAL  # noqa: E402
from universality.family import Families, families  # noqa: E402
from universality.family.candidates import find_candidates  # noqa: E402
from universality.family.dictionaries import read_level  # noqa: E402
from universality.family.edge_rule import EdgeRule  # noqa: E402
from universality.features.storage.store import FeatureStore  # noqa: E402
from universality.similarity.engine import device_memory, device_sums  # noqa: E402

NO_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_CARD])]
RULE = EdgeRule(0.2, 0.4, 0.3, 0.0, 10)


def found(stores: list[FeatureStore], device: str | None, budget: int = 1 << 30) -> list:
    """Candidates of the two wider dictionaries, as tokens are and as a null pairs them."""
    pair = stores[1], stores[2]
    rng = np.random.default_rng(0)
    rows = tuple(rng.choice(pair[0].n_tokens, (2, 4000), replace=False))
    where = None if device is None else torch.device(device)
    return find_candidates(pair, tuple(map(read_level, pair)), RULE, [None, rows], budget, SERIAL, where)  # type: ignore[arg-type]


def check_same(some: list, others: list) -> None:
    for one, other in zip(some, others, strict=True):
        assert one.counts == other.counts
        assert_array_equal(one.parent, other.parent)
        assert_array_equal(one.child, other.child)
        for name in ("masked_cosine", "coverage", "share"):
            assert_allclose(getattr(one, name), getattr(other, name), atol=1e-13)
        assert_allclose(one.decoder_cosine, other.decoder_cosine, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_equals_the_compiled_loops(stores: list[FeatureStore], device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = found(stores, None)
    assert expected[0].parent.size > 10
    check_same(found(stores, device), expected)
    monkeypatch.setattr(device_memory, "MOST_PAIRS", 4 * 25 * 3)  # three parents at a time
    monkeypatch.setattr(device_sums, "PIECE", 500)
    check_same(found(stores, device, budget=60_000), expected)  # the wider store in parts


def test_out_of_memory_halves_the_tile_or_leaves_the_pairs_to_the_cpu(stores: list[FeatureStore]) -> None:
    expected = found(stores, None)
    with LimitedMemory(100_000) as memory:  # token rows have room, and the products of all parents have none
        check_same(found(stores, "cpu"), expected)
    assert memory.failures
    with LimitedMemory(100), pytest.warns(DeviceWarning, match="candidate edges: cpu has no room"):
        check_same(found(stores, "cpu"), expected)


@pytest.mark.usefixtures("torch_for_card")
def test_families_take_the_switch(stores: list[FeatureStore], planted: Families) -> None:
    again = families(stores, n_replicates=2, device="cuda")
    assert again.chance == planted.chance
    assert_allclose(again.edges.masked_cosine, planted.edges.masked_cosine, atol=1e-13)
    with pytest.raises(UniversalityError, match="give a device or an executor"):
        families(stores, device="cuda", executor=SERIAL)
