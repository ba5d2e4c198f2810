"""Activations with a far centre or a few tokens of very large norm: the others are learnt, the numbers tell of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from outlying_tokens import BATCH, SPEC, STEPS, train, with_outliers
from torch import Tensor
from torch.testing import assert_close

from universality.errors import ConfigError, MismatchError, ModelError
from universality.sae import SAE, SAETrainer, summarise

if TYPE_CHECKING:
    from tests.sae.conftest import Superposition


def with_offset(x: Tensor, norms: float) -> Tensor:
    """The same with a constant in one dimension, of so many mean norms."""
    offset = torch.zeros(x.shape[1])
    offset[3] = norms * float(x.norm(dim=1).mean())
    return x + offset


def explained(sae: SAE, x: Tensor) -> float:
    """Of these tokens, about their mean."""
    error = (sae.reconstruct(x) - x).double().square().sum()
    return 1 - float(error / (x - x.mean(dim=0)).double().square().sum())


@pytest.fixture(scope="module")
def plain(small_toy: Superposition) -> float:
    """What is explained of ordinary activations."""
    return explained(train(small_toy.activations)[0], small_toy.activations[:2000])


def never_fires(sae: SAE, x: Tensor) -> float:
    """Share of features that no token fires."""
    return float(np.mean(sae.encode(x).getnnz(axis=0) == 0))


@pytest.mark.parametrize(("norms", "pre_bias"), [(15, True), (50, True), (150, False)])
def test_a_constant_offset_costs_nothing(norms: int, pre_bias: bool, small_toy: Superposition, plain: float) -> None:
    x = with_offset(small_toy.activations, norms)
    sae, _ = train(x, replace(SPEC, apply_b_dec_to_input=pre_bias))
    assert explained(sae, x[:2000]) > plain - 0.03
    assert never_fires(sae, x) < 0.25, "as on activations without an offset"
    assert sae.metadata["training"]["centre_subtracted"] is True
    assert_close(torch.from_numpy(sae.decode(sae.encode(x[:50]))), sae.reconstruct(x[:50]))


def test_with_the_scale_of_the_offset_features_die(small_toy: Superposition, plain: float) -> None:
    """The control: what training did before, and what the centre is subtracted for."""
    x = with_offset(small_toy.activations, 50)
    whole = replace(summarise(x), far=False, scale=float((x.shape[1] / x.square().sum(dim=1).mean()).sqrt()))
    trainer, generator = SAETrainer(SPEC, whole, STEPS), torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        trainer.step(x[torch.randint(len(x), (BATCH,), generator=generator)])
    sae = trainer.finish()
    assert explained(sae, x[:2000]) < plain - 0.2
    assert never_fires(sae, x) > 0.4


def test_ordinary_activations_are_scaled_as_ever(small_toy: Superposition) -> None:
    x = small_toy.activations
    summary = summarise(x)
    taken = x[torch.arange(8192) * len(x) // 8192]
    assert (summary.far, summary.dominant, summary.longest) == (False, False, None)
    assert summary.scale == (x.shape[1] / float(taken.double().square().sum(dim=1).mean())) ** 0.5
    assert set(SAETrainer(SPEC, x, 5).finish().metadata["training"]) == {*SPEC.as_dict(), "steps", "tokens_seen"}
    assert not {"max_norm_ratio", "normalize_activations"} & set(SPEC.as_dict())


def test_few_tokens_of_large_norm_leave_the_others_their_features(small_toy: Superposition, plain: float) -> None:
    x = with_outliers(small_toy.activations, 300)
    with pytest.warns(UserWarning, match=r"0\.\d\d% of the tokens are more than 10 times .* 99\.\d% of their variance"):
        summary = summarise(x)
    assert summary.dominant
    sae, numbers = train(x)
    ordinary = x[x.norm(dim=1) < 50][:2000]
    assert explained(sae, ordinary) > plain - 0.1
    assert sae.metadata["training"]["scale_without_outlying"] is True
    assert numbers["explained_variance"] > 0.99
    assert numbers["typical_explained_variance"] == pytest.approx(explained(sae, ordinary), abs=0.08)


def test_tokens_above_a_multiple_of_the_median_distance_are_left_out(small_toy: Superposition, tmp_path: Any) -> None:
    x, spec = with_outliers(small_toy.activations, 300), replace(SPEC, max_norm_ratio=10)
    whole, first, second = (SAETrainer(spec, x, 20) for _ in range(3))
    batches = list(x[:5120].split(BATCH))
    for step, batch in enumerate(batches):
        whole.step(batch)
        if step < 9:
            first.step(batch)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for batch in batches[9:]:
        second.step(batch)
    n_out = len(range(0, 5120, 250))
    assert whole.finish().metadata["training"]["tokens_left_out"] == second.tokens_left_out == n_out
    assert whole.tokens_seen == 5120 - n_out
    assert second.finish().hash == whole.finish().hash
    ordinary = replace(summarise(x, max_norm_ratio=10), max_norm_ratio=None, longest=None)
    without = SAETrainer(SPEC, ordinary, 20)
    for batch in batches:
        without.step(batch[batch.norm(dim=1) < 50])
    assert without.finish().hash == whole.finish().hash, "the same as training on the others alone"


def test_a_batch_of_outlying_tokens_alone_keeps_the_nearest(small_toy: Superposition) -> None:
    x = with_outliers(small_toy.activations, 300)
    trainer = SAETrainer(replace(SPEC, max_norm_ratio=10), x, 5)
    numbers = trainer.step(torch.stack([x[0] * 2, x[0], x[0] * 3]), report=True)
    assert (trainer.tokens_seen, trainer.tokens_left_out) == (1, 2)
    assert np.isfinite(numbers["loss"])


@pytest.mark.parametrize("way", ["layer_norm", "constant_norm_rescale"])
def test_normalising_each_token_takes_their_weight_from_them(way: str, small_toy: Superposition, plain: float) -> None:
    x = with_outliers(small_toy.activations, 300)
    sae, _ = train(x, replace(SPEC, normalize_activations=way))
    assert sae.normalize_activations == way
    assert explained(sae, x[x.norm(dim=1) < 50][:2000]) > plain - 0.06
    rows = x[1:40]
    assert_close(sae.encode(rows * 7).toarray(), sae.encode(rows).toarray(), atol=1e-3, rtol=1e-3)


def test_settings_that_cannot_work_are_refused(small_toy: Superposition) -> None:
    with pytest.raises(ConfigError, match=r"max_norm_ratio must be more than 1, found 0\.5"):
        replace(SPEC, max_norm_ratio=0.5)
    with pytest.raises(ConfigError, match=r"normalize_activations must be none or layer_norm or .*, found 'batch'"):
        replace(SPEC, normalize_activations="batch")
    with pytest.raises(MismatchError, match=r"\('none', 10\.0\), the summary .* made with \('none', None\); pass both"):
        SAETrainer(replace(SPEC, max_norm_ratio=10), summarise(small_toy.activations), 5)
    same = torch.zeros(100, 4)
    same[:40] = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ModelError, match="max_norm_ratio is 10, but half of the sample's tokens have the same activat"):
        summarise(same, max_norm_ratio=10)


def test_what_was_decided_is_resumed(small_toy: Superposition) -> None:
    """A checkpoint keeps the centre; of ordinary activations it keeps nothing more than it ever did."""
    far = with_offset(small_toy.activations, 50)
    moved = replace(summarise(far), centre=summarise(far).centre + 0.01)  # as another machine might find it
    whole, first, second = (SAETrainer(SPEC, sample, 6) for sample in (far, far, moved))
    for step, batch in enumerate(far[: 6 * BATCH].split(BATCH)):
        whole.step(batch)
        if step < 3:
            first.step(batch)
    second.load_state_dict(first.state_dict())
    for batch in far[3 * BATCH : 6 * BATCH].split(BATCH):
        second.step(batch)
    assert second.finish().hash == whole.finish().hash
    assert "centre" not in SAETrainer(SPEC, small_toy.activations, 6).state_dict()
