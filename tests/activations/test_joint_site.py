"""Several models as one site: same tokens, equal variance, and no claim to what only one model has."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from universality.activations import JointSite, ModelSite, balancing_scales, harvest, joined, shuffled_batches
from universality.corpus import TokenBlocks
from universality.errors import MismatchError, ModelError
from universality.features import FeatureStore
from universality.features.collection import collect


@pytest.fixture(scope="module")
def few(blocks: TokenBlocks) -> TokenBlocks:
    return blocks.take(np.arange(100))


@pytest.fixture(scope="module")
def mixed(sites, models) -> dict[str, ModelSite]:
    """Two models of unequal width: 64 neurons of A, and the 32 axes of B's residual stream."""
    return {"A": sites["A"], "B": ModelSite(models["B"], "blocks.0.hook_resid_pre")}


def test_every_model_gets_the_same_variance(mixed, few: TokenBlocks) -> None:
    scales = balancing_scales(mixed, few)
    joint = JointSite(mixed, scales)
    x = joint.read(few)
    assert x.shape == (few.n_tokens, joint.d_in) == (few.n_tokens, 64 + 32)
    variance = x.double().var(dim=0, correction=0)
    assert float(variance[:64].sum()) == pytest.approx(1, rel=1e-5)
    assert float(variance[64:].sum()) == pytest.approx(1, rel=1e-5)
    for name, part in (("A", x[:, :64]), ("B", x[:, 64:])):
        torch.testing.assert_close(part, mixed[name].read(few) * scales[name])
    assert not math.isclose(scales["A"], scales["B"], rel_tol=0.1)


def test_it_is_a_site_like_any_other(mixed, few: TokenBlocks, tmp_path) -> None:
    joint = JointSite(mixed, balancing_scales(mixed, few))
    assert (joint.name, joint.hook) == ("A+B", f"{mixed['A'].hook}+{mixed['B'].hook}")
    assert joint.cost == mixed["A"].cost + mixed["B"].cost
    other = JointSite(dict(reversed(mixed.items())), joint.scales)
    assert other.model_hash != joint.model_hash
    (whole,) = (batch["A+B"] for batch in shuffled_batches({"A+B": joint}, few, batch_size=64, seed=0, stop=1))
    parts = next(shuffled_batches(mixed, few, batch_size=64, seed=0, stop=1))
    torch.testing.assert_close(whole, joined(parts, joint.scales), atol=1e-5, rtol=1e-4)
    collect(joint, {tmp_path / "ab.h5": None}, few)
    with FeatureStore.open(tmp_path / "ab.h5") as store:
        np.testing.assert_allclose(store.csr().toarray(), joint.read(few).numpy(), atol=1e-5)
        assert store.provenance["model"] == {"name": "A+B", "hash": joint.model_hash}
        assert store.dictionary is not None
        assert store.dictionary.residual is None
    with pytest.raises(
        ModelError, match=r"A\+B are several models, which share no unembedding; ask one of \['A', 'B'\]"
    ):
        joint.unembedding(few, 1)
    assert math.isnan(joint.spliced_loss(few, lambda x: x))


@dataclass(frozen=True)
class Silent:
    """A site whose activations do not vary."""

    inner: ModelSite
    value: float

    def read(self, blocks: TokenBlocks) -> torch.Tensor:
        return torch.full_like(self.inner.read(blocks), self.value)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_activations_without_variance_are_refused(value: float, mixed, few: TokenBlocks) -> None:
    with pytest.raises(ModelError, match=r"model 'B': the variance of its activations on .* tokens is (0.0|nan)"):
        balancing_scales({**mixed, "B": Silent(mixed["B"], value)}, few)


def test_other_tokens_are_refused(mixed, few: TokenBlocks) -> None:
    _, activations = next(harvest(mixed, few))
    with pytest.raises(MismatchError, match=r"activations of \['B'\] are missing; there are \['A'\]"):
        joined({"A": activations["A"]}, {"A": 1.0, "B": 1.0})
    with pytest.raises(MismatchError, match=r"must be read on the same tokens, found \{'A': \d+, 'B': 3\}"):
        joined({**activations, "B": activations["B"][:3]}, {"A": 1.0, "B": 1.0})
