"""One SAE: planted features are found, and the same asked twice is the same bytes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from universality.errors import FormatError, MismatchError, ModelError
from universality.sae import SAE, Quality, SAESpec, SAETrainer, summarise
from universality.sae.architectures.base import FiringRule
from universality.sae.compute.selection import select

if TYPE_CHECKING:
    from tests.sae.conftest import Superposition

STEPS, BATCH = 1200, 256


def batches(x: Tensor, n: int, size: int = BATCH, seed: int = 0) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        yield x[torch.randint(len(x), (size,), generator=generator)]


def train(spec: SAESpec, x: Tensor, steps: int = STEPS) -> SAE:
    trainer = SAETrainer(spec, x, steps)
    for batch in batches(x, steps):
        trainer.step(batch)
    return trainer.finish()


SPECS = {
    "topk": SAESpec(128, k=3, learning_rate=1e-2, dead_after_tokens=5000),
    "relu": SAESpec(128, "relu", l1=0.02, learning_rate=1e-2),
    "relu-no-pre-bias": SAESpec(128, "relu", l1=0.01, learning_rate=1e-2, apply_b_dec_to_input=False),
    "jumprelu": SAESpec(128, "jumprelu", l0=0.02, bandwidth=0.5, learning_rate=1e-2),
    "batchtopk": SAESpec(128, "batchtopk", k=3, learning_rate=1e-2, dead_after_tokens=5000),
    "matryoshka": SAESpec(128, "matryoshka", k=3, nested=(32, 64), learning_rate=1e-2, dead_after_tokens=5000),
}


Trained = Callable[[str], tuple[SAETrainer, SAE, dict[str, float]]]


@pytest.fixture(scope="module")
def trained(toy: Superposition) -> Trained:
    """By the name of a spec: its trainer after the last step, the SAE, and the last step's numbers."""

    @cache
    def of(name: str) -> tuple[SAETrainer, SAE, dict[str, float]]:
        trainer, numbers = SAETrainer(SPECS[name], toy.activations, STEPS), {}
        for step, batch in enumerate(batches(toy.activations, STEPS)):
            numbers = trainer.step(batch, report=step == STEPS - 1)
        return trainer, trainer.finish(), numbers

    return of


@pytest.mark.parametrize(
    ("name", "least", "least_share"),
    [
        ("topk", 0.99, 1.0),
        ("batchtopk", 0.99, 1.0),
        ("matryoshka", 0.9, 0.8),
        ("relu", 0.98, 0.95),
        ("relu-no-pre-bias", 0.85, 0.6),
        ("jumprelu", 0.98, 0.95),
    ],
)
def test_planted_features_are_recovered(
    name: str, least: float, least_share: float, toy: Superposition, trained: Trained, record_property: Any
) -> None:
    sae = trained(name)[1]
    found = toy.found_by(sae.W_dec)
    record_property("mean_max_cosine", float(found.mean()))
    assert float(found.mean()) > least
    assert float((found > 0.9).float().mean()) >= least_share


def test_a_frozen_decoder_stays_as_it_was_drawn(toy: Superposition) -> None:
    spec = replace(SPECS["topk"], train_decoder=False)
    frozen, drawn = train(spec, toy.activations, 50), SAETrainer(spec, toy.activations, 50).finish()
    assert_close(frozen.W_dec, drawn.W_dec, rtol=0, atol=0)
    assert not torch.allclose(frozen.W_enc, drawn.W_enc, atol=1e-3)


def test_an_untrained_sae_and_a_foreign_dictionary_do_not_pass(toy: Superposition) -> None:
    untrained = SAETrainer(SPECS["topk"], toy.activations, STEPS).finish()
    shuffled = toy.activations[:, torch.randperm(48, generator=torch.Generator().manual_seed(0))]
    foreign = train(SPECS["topk"], shuffled, 300)
    for control in (untrained, foreign):
        found = toy.found_by(control.W_dec)
        assert float(found.mean()) < 0.6
        assert float((found > 0.9).float().mean()) < 0.05


def test_the_codes_name_the_planted_features(toy: Superposition, trained: Trained) -> None:
    sae = trained("topk")[1]
    x = toy.activations[:2000]
    error = torch.from_numpy(sae.decode(sae.encode(x))) - x
    assert float(error.square().sum() / (x - x.mean(dim=0)).square().sum()) < 0.1
    assert_close(sae.W_dec.norm(dim=1), torch.ones(128))


@pytest.mark.parametrize("name", ["topk", "relu", "jumprelu", "batchtopk", "matryoshka"])
def test_same_seed_same_bytes_for_any_number_of_threads(name: str, toy: Superposition) -> None:
    before = torch.get_num_threads()
    hashes = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            sae = train(SPECS[name], toy.activations, 30)
            quality = Quality(sae)
            quality.update(toy.activations)
            hashes.append((sae.hash, quality.compute().typical))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(set(hashes)) == 1
    other = train(replace(SPECS[name], seed=1), toy.activations, 30)
    assert other.hash != hashes[0]


@pytest.mark.parametrize("name", ["topk", "relu", "jumprelu", "batchtopk", "matryoshka", "resampled", "decayed"])
def test_a_resumed_run_ends_in_the_same_bytes(name: str, toy: Superposition, tmp_path: Any) -> None:
    resampled = SAESpec(128, "relu", l1=0.05, dead_after_tokens=1000, resample_at=(0.3, 0.5))
    others = {"resampled": resampled, "decayed": replace(SPECS["topk"], weight_decay=1e-3)}
    spec, data = (SPECS | others)[name], list(batches(toy.activations, 40))
    whole = SAETrainer(spec, toy.activations, 40)
    for batch in data:
        whole.step(batch)
    first = SAETrainer(spec, toy.activations, 40)
    for batch in data[:15]:
        first.step(batch)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = SAETrainer(spec, toy.activations, 40)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.step_count == 15
    for batch in data[15:]:
        second.step(batch)
    assert second.finish().hash == whole.finish().hash
    assert torch.equal(second.silent_tokens, whole.silent_tokens)
    assert first.finish().hash != whole.finish().hash


def test_finish_folds_the_scale_into_the_weights(toy: Superposition) -> None:
    spec = SPECS["topk"]
    small, large = (SAETrainer(spec, toy.activations * factor, 20) for factor in (1.0, 64.0))
    for batch in batches(toy.activations, 20):
        small.step(batch)
        large.step(batch * 64)
    a, b = small.finish({"site": "here"}), large.finish()
    x = toy.activations[:100]
    assert_close(torch.from_numpy(b.encode(64 * x).toarray()), torch.from_numpy(64 * a.encode(x).toarray()))
    assert a.scale == pytest.approx(64 * b.scale)
    assert a.metadata["site"] == "here"
    assert a.metadata["training"]["tokens_seen"] == 20 * BATCH


def test_dead_features_come_back(toy: Superposition) -> None:
    """Two thirds of the planted features' number start dead; 96 of 128 are needed, the auxiliary loss wakes those."""

    def after_a_bad_start(aux_weight: float) -> dict[str, float]:
        spec = SAESpec(128, k=3, learning_rate=1e-2, dead_after_tokens=2000, aux_weight=aux_weight)
        trainer = SAETrainer(spec, toy.activations, 300)
        trainer.weights.b_enc[:64] = -1.5
        numbers = {}
        for batch in batches(toy.activations, 300):
            numbers = trainer.step(batch, report=True)
        return numbers

    without, woken = after_a_bad_start(0.0), after_a_bad_start(1 / 32)
    assert without["dead_share"] > 0.35
    assert woken["dead_share"] < 0.27
    assert woken["explained_variance"] > without["explained_variance"] + 0.08


def test_dead_features_drawn_anew_come_back(toy: Superposition) -> None:
    def after_a_bad_start(**fields: Any) -> dict[str, float]:
        spec = SAESpec(128, "relu", l1=0.02, learning_rate=1e-2, dead_after_tokens=5000, **fields)
        trainer = SAETrainer(spec, toy.activations, 400)
        trainer.weights.b_enc[:64] = -3
        numbers = {}
        for batch in batches(toy.activations, 400):
            numbers = trainer.step(batch, report=True)
        return numbers

    without, with_it = after_a_bad_start(), after_a_bad_start(resample_at=(0.25, 0.5))
    assert without["dead_share"] > 0.35
    assert with_it["dead_share"] < 0.1
    assert with_it["explained_variance"] > without["explained_variance"] + 0.05


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka", "jumprelu"])
def test_the_trained_threshold_keeps_what_training_fired(name: str, toy: Superposition, trained: Trained) -> None:
    trainer, sae, numbers = trained(name)
    assert sae.threshold is not None
    assert (sae.threshold > 0).all()
    assert sae.encode(toy.activations).nnz / len(toy.activations) == pytest.approx(numbers["l0"], rel=0.05)
    if name != "jumprelu":
        assert numbers["l0"] == pytest.approx(3)
        assert float(sae.threshold[0]) * trainer.scale == pytest.approx(trainer.running_threshold.value, rel=1e-5)


def test_a_matryoshka_sae_is_cut_at_its_nested_widths(toy: Superposition, trained: Trained) -> None:
    sae = trained("matryoshka")[1]
    x = toy.activations[:2000]
    whole = sae.encode(x)
    total = (x - x.mean(dim=0)).square().sum()

    def explained(sae: SAE) -> float:
        return float(1 - (sae.reconstruct(x) - x).square().sum() / total)

    small = sae.prefix(32)
    assert (small.d_sae, small.nested, sae.prefix(64).nested) == (32, (), (32,))
    assert np.array_equal(small.encode(x).toarray(), whole[:, :32].toarray())
    plain = trained("batchtopk")[1]
    first = replace(
        plain, W_enc=plain.W_enc[:, :32], b_enc=plain.b_enc[:32], W_dec=plain.W_dec[:32], threshold=plain.threshold[:32]
    )
    assert explained(small) > explained(first) + 0.1  # the first features of a plain SAE are any
    assert explained(small) < explained(sae.prefix(64)) < explained(sae)
    assert sae.prefix(128).hash == sae.hash
    with pytest.raises(ModelError, match=r"this matryoshka SAE can be cut at its nested widths \(32, 64\), not at 50"):
        sae.prefix(50)
    with pytest.raises(ModelError, match=r"this batchtopk SAE can be cut at its nested widths \(none\), not at 32"):
        plain.prefix(32)


def test_a_step_reports_only_when_asked(toy: Superposition) -> None:
    trainer = SAETrainer(SPECS["topk"], toy.activations, 10)
    batch = toy.activations[:500]
    assert trainer.step(batch) == {}
    before = copy.deepcopy(trainer.weights)
    numbers = trainer.step(batch, report=True)
    centred = batch * trainer.scale - before.b_dec
    pre = centred @ before.W_enc.T + before.b_enc
    acts = torch.from_numpy(select(pre, FiringRule(k=3)).csr().toarray())
    error = centred - acts @ before.W_dec
    total = (centred - centred.mean(dim=0)).square().sum()
    assert numbers["loss"] == pytest.approx(float(error.square().mean()), rel=1e-5)
    assert numbers["explained_variance"] == pytest.approx(float(1 - error.square().sum() / total), rel=1e-4)
    assert numbers["l0"] == pytest.approx(float((acts > 0).sum() / 500), rel=1e-3)
    assert numbers["dead_share"] == 0
    assert_close(trainer.weights.W_dec.norm(dim=1), torch.ones(128))


def test_adam_is_given_the_gradient_of_the_errors_logarithm(toy: Superposition) -> None:
    trainer = SAETrainer(SPECS["topk"], toy.activations, 10)
    batch = toy.activations[:500]
    weights = {name: tensor.clone().requires_grad_() for name, tensor in trainer.weights.tensors().items()}
    centred = batch * trainer.scale - weights["b_dec"]
    pre = centred @ weights["W_enc"].T + weights["b_enc"]
    fires = torch.from_numpy(select(pre.detach(), FiringRule(k=3)).csr().toarray()) > 0
    error = centred - (pre * fires) @ weights["W_dec"]
    error.square().mean().log().backward()
    trainer.step(batch)
    for name in ("W_enc", "b_enc", "b_dec"):  # that of W_dec loses its part along the row
        first = trainer.state_dict()["adam"]["first"][name]
        assert_close(first, (1 - trainer.spec.beta1) * weights[name].grad, rtol=1e-4, atol=1e-6)


def optimised(
    x: Tensor, initial: dict[str, Tensor], spec: SAESpec, optimizer: type[torch.optim.Adam] = torch.optim.Adam,
    penalty: float = 0.0, **options: Any,
) -> tuple[dict[str, Tensor], list[float]]:  # fmt: skip
    """Weights and losses of TopK by autograd and an optimizer of PyTorch, one step a batch of ``x``."""
    weights = {name: tensor.clone().requires_grad_() for name, tensor in initial.items()}
    optimizers = [
        optimizer([weights.pop("W_enc")], spec.peak_rate, (spec.beta1, spec.beta2), spec.epsilon, **options),
        torch.optim.Adam(list(weights.values()), spec.peak_rate, (spec.beta1, spec.beta2), spec.epsilon),
    ]
    w_enc, losses = optimizers[0].param_groups[0]["params"][0], []
    for batch in x:
        centred = batch - weights["b_dec"]
        pre = centred @ w_enc.T + weights["b_enc"]
        top = pre.topk(spec.k)
        error = (top.values.relu()[:, :, None] * weights["W_dec"][top.indices]).sum(dim=1) - centred
        squared = error.square().mean()
        loss = squared + penalty * w_enc.square().sum()
        losses.append(float(loss.detach()))
        for each in optimizers:
            each.zero_grad()
        (loss / squared.detach()).backward()
        decoder = weights["W_dec"]
        with torch.no_grad():
            decoder.grad -= (decoder.grad * decoder).sum(dim=1, keepdim=True) * decoder
            for each in optimizers:
                each.step()
            decoder /= decoder.norm(dim=1, keepdim=True)
    return {"W_enc": w_enc.detach(), **{name: tensor.detach() for name, tensor in weights.items()}}, losses


def test_weight_decay_is_an_l2_penalty_on_the_encoder_in_the_loss(toy: Superposition) -> None:
    """As in Jedryszek & Crook 2026; the penalty on unit decoder rows would be constant."""
    spec = replace(SPECS["topk"], weight_decay=1e-3, aux_weight=0.0, warmup_share=0.0, decay_share=0.0, epsilon=1e-4)
    trainer, x = SAETrainer(spec, toy.activations, 6), list(batches(toy.activations, 6))
    initial = {name: tensor.clone() for name, tensor in trainer.weights.tensors().items()}
    losses = [trainer.step(batch, report=True)["loss"] for batch in x]
    scaled = torch.stack(x) * trainer.scale
    expected, objective = optimised(scaled, initial, spec, penalty=spec.weight_decay)
    for name, tensor in trainer.weights.tensors().items():
        assert_close(tensor, expected[name], rtol=0, atol=2e-5)
    assert losses == pytest.approx(objective, rel=1e-4)
    encoder = trainer.weights.W_enc
    without = optimised(scaled, initial, spec)[0]["W_enc"]
    decoupled = optimised(scaled, initial, spec, torch.optim.AdamW, weight_decay=2 * spec.weight_decay)[0]["W_enc"]
    for control in (without, decoupled):  # neither is what is trained
        assert float((encoder - control).abs().max()) > 1e-3
    assert float(encoder.square().sum()) < float(without.square().sum())


def test_without_weight_decay_files_and_checkpoints_are_as_before_it_existed(toy: Superposition) -> None:
    trainer = SAETrainer(SPECS["topk"], toy.activations, 2)
    assert "weight_decay" not in trainer.state_dict()["spec"]
    assert "weight_decay" not in trainer.finish().metadata["training"]
    decayed = SAETrainer(replace(SPECS["topk"], weight_decay=1e-4), toy.activations, 2)
    assert decayed.finish().metadata["training"]["weight_decay"] == 1e-4
    with pytest.raises(MismatchError, match="the checkpoint was written with spec"):
        decayed.load_state_dict(trainer.state_dict())


def test_with_nothing_left_to_reconstruct_the_weights_stay_finite(toy: Superposition) -> None:
    trainer = SAETrainer(SPECS["topk"], toy.activations, 10)
    trainer.weights.b_dec.zero_()
    trainer.step(torch.zeros(100, toy.activations.shape[1]))
    assert all(tensor.isfinite().all() for tensor in trainer.weights.tensors().values())


def test_learning_rate_rises_holds_and_falls(toy: Superposition) -> None:
    spec = SAESpec(128, k=3, learning_rate=1.0, warmup_share=0.2, decay_share=0.3)
    trainer = SAETrainer(spec, toy.activations, 10)
    rates = []
    for step in range(10):
        trainer.step_count = step
        rates.append(trainer.learning_rate)
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3])


def test_the_penalty_rises(toy: Superposition) -> None:
    shares, penalties = [], []
    for kind, of in (("relu", "l1"), ("jumprelu", "l0")):
        trainer = SAETrainer(replace(SPECS[kind], penalty_warmup_share=0.4), toy.activations, 10)
        for step in (0, 1, 3, 9):
            trainer.step_count = step
            shares.append(trainer.penalty_share)
            penalties.append(getattr(trainer.architecture.scheduled(trainer.penalty_share, 0.0), of))
    assert shares == pytest.approx([0.25, 0.5, 1, 1] * 2)
    assert penalties == pytest.approx([0.02 * share for share in shares])
    at_once = SAETrainer(replace(SPECS["relu"], penalty_warmup_share=0.0), toy.activations, 10)
    assert at_once.penalty_share == 1
    first = next(batches(toy.activations, 1))
    eased = SAETrainer(SPECS["relu"], toy.activations, 10).step(first, report=True)["loss"]
    whole = at_once.step(first, report=True)["loss"]
    assert whole > eased, "it reaches the loss"


def test_arrays_train_as_tensors_do(toy: Superposition) -> None:
    rows = toy.activations[:256]
    hashes = []
    for x in (rows, rows.numpy()):
        trainer = SAETrainer(SPECS["topk"], x, 2)
        trainer.step(x)
        hashes.append(trainer.finish().hash)
    assert hashes[0] == hashes[1]


def test_summary_and_sample_are_the_same_start(toy: Superposition) -> None:
    one = SAETrainer(SPECS["topk"], toy.activations, 5)
    two = SAETrainer(SPECS["topk"], summarise(toy.activations), 5)
    assert one.finish().hash == two.finish().hash


def test_errors_before_hours_are_lost(toy: Superposition) -> None:
    trainer = SAETrainer(SPECS["topk"], toy.activations, 5)
    with pytest.raises(MismatchError, match=r"expected a batch of activations \[n_tokens, 48\].*found shape \(7, 47\)"):
        trainer.step(torch.zeros(7, 47))
    kept = trainer.finish().hash
    bad = toy.activations[:10].clone()
    bad[3, 3] = torch.inf
    with pytest.raises(ModelError, match=r"the squared error of .* at step 0: the batch holds NaN or infinity"):
        trainer.step(bad)
    assert trainer.finish().hash == kept, "the weights must be as before the bad batch"
    with pytest.raises(ModelError, match="total_steps must be at least 1, found 0"):
        SAETrainer(SPECS["topk"], toy.activations, 0)


def test_a_foreign_state_is_refused(toy: Superposition) -> None:
    trainer = SAETrainer(SPECS["topk"], toy.activations, 5)
    state = trainer.state_dict()
    with pytest.raises(MismatchError, match="was written with total_steps 5, this run has 6"):
        SAETrainer(SPECS["topk"], toy.activations, 6).load_state_dict(state)
    with pytest.raises(MismatchError, match="was written with spec"):
        SAETrainer(SPECS["relu"], toy.activations, 5).load_state_dict(state)
    with pytest.raises(MismatchError, match="activations of another size"):
        SAETrainer(SPECS["topk"], 2 * toy.activations, 5).load_state_dict(state)
    wider = torch.cat([toy.activations, toy.activations], dim=1)
    with pytest.raises(MismatchError, match="to activations of width 48, these are 96 wide; delete it"):
        SAETrainer(SPECS["topk"], wider, 5).load_state_dict(state)
    del state["adam"]
    with pytest.raises(FormatError, match="lacks 'adam'"):
        trainer.load_state_dict(state)
