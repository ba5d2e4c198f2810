"""Architectures that give a forward pass alone, and their registration from outside the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.testing import assert_close

from universality.errors import FormatError, ModelError
from universality.sae import (
    SAE,
    Architecture,
    AutogradArchitecture,
    ForwardPass,
    SAESpec,
    SAETrainer,
    register_architecture,
    train_grid,
)
from universality.sae.architectures import ARCHITECTURES, build_architecture
from universality.sae.architectures.base import AuxK, FiringRule
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK
from universality.sae.compute.batch_gradients import Batch, Step
from universality.sae.compute.dense_gradients import dense_step
from universality.sae.compute.dispatch import gradients
from universality.sae.compute.sparse_gradients import sparse_step
from universality.sae.compute.weights import Weights, own_parameters

if TYPE_CHECKING:
    from tests.sae.conftest import Superposition

N_TOKENS, D_IN, D_SAE = 600, 12, 90  # more tokens than one task holds
DEAD = torch.tensor([3, 4, 50, 51, 89])
NONE = torch.tensor([], dtype=torch.int64)


@dataclass(frozen=True)
class AutogradTopK(AutogradArchitecture):
    """TopK again, by its forward pass."""

    k: int
    aux_k: int = 256
    aux_weight: float = 1 / 32

    @property
    def aux(self) -> AuxK | None:
        return AuxK(self.aux_k, self.aux_weight) if self.aux_weight else None

    def forward(self, pre: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        values, indices = pre.topk(self.k, dim=1)
        return torch.zeros_like(pre).scatter(1, indices, values.relu())


@dataclass(frozen=True)
class AutogradReLU(AutogradArchitecture):
    """ReLU with an L1 penalty again, by its forward pass."""

    l1: float = 0.0

    @property
    def adaptive(self) -> bool:
        return True

    def token_penalty(self, step: ForwardPass) -> Tensor:
        return self.l1 * step.acts.sum(dim=1)

    def scheduled(self, penalty_share: float, progress: float) -> Architecture:
        return replace(self, l1=self.l1 * penalty_share)


@dataclass(frozen=True)
class WrongGradient(AutogradReLU):
    """The activations of a ReLU with half of their gradient."""

    def forward(self, pre: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        acts = pre.relu()
        return (acts + acts.detach()) / 2


@dataclass(frozen=True)
class Gated(AutogradArchitecture):
    """Rajamanoharan et al. 2024, with the two encoders tied by ``log_gain`` and ``shift``."""

    l1: float = 0.0

    def parameters(self, d_sae: int) -> dict[str, Tensor]:
        return {"log_gain": torch.full((d_sae,), 0.1), "shift": torch.full((d_sae,), 0.2)}

    def forward(self, pre: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        return (pre > 0) * (parameters["log_gain"].exp() * pre + parameters["shift"]).relu()

    def token_penalty(self, step: ForwardPass) -> Tensor:
        gate = step.pre.relu()
        return self.l1 * gate.sum(dim=1) + (gate @ step.decoder - step.targets).square().mean(dim=1)


@dataclass(frozen=True)
class Softplus(AutogradArchitecture):
    """Smooth, and no function with f(s z) = s f(z); the sharpness is a setting that `SAESpec` lacks."""

    sharpness: float = 3.0

    def forward(self, pre: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        return torch.nn.functional.softplus(pre, beta=self.sharpness)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    before = dict(ARCHITECTURES)
    for name, architecture in (
        ("autograd-topk", AutogradTopK),
        ("autograd-relu", AutogradReLU),
        ("wrong-gradient", WrongGradient),
        ("gated", Gated),
        ("softplus", Softplus),
    ):
        register_architecture(name, architecture)
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)


def random_weights(architecture: Architecture | None = None, device: str = "cpu") -> Weights:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device)

    own = {} if architecture is None else own_parameters(architecture, D_SAE)
    return Weights(
        W_enc=normal(D_SAE, D_IN),
        b_enc=0.1 * normal(D_SAE),
        W_dec=normal(D_SAE, D_IN) / D_IN**0.5,
        b_dec=0.3 * normal(D_IN),
        parameters={name: value.double().to(device) + 0.1 * normal(*value.shape) for name, value in own.items()},
    )


def tokens(n: int = N_TOKENS) -> Tensor:
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def agree(step: Step, expected: Step, weights: Weights) -> None:
    """The same loss and the same gradients."""
    assert float(step.loss) == pytest.approx(float(expected.loss), rel=1e-11)
    assert float(step.auxiliary) == pytest.approx(float(expected.auxiliary), rel=1e-11)
    assert step.firings.tolist() == expected.firings.tolist()
    for name, gradient in expected.gradients(weights).tensors().items():
        assert_close(step.gradients(weights).tensors()[name], gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize(
    ("architecture", "built_in"),
    [(AutogradTopK(5, 2, 0.5), TopK(5, 2, 0.5)), (AutogradTopK(5), TopK(5)), (AutogradReLU(0.02), ReLU(0.02))],
)
def test_autograd_gives_the_gradients_of_the_backward_passes_written_by_hand(
    architecture: Architecture, built_in: Architecture, pre_bias: bool
) -> None:
    weights = random_weights()
    batch = Batch.of(tokens(), weights.b_dec, pre_bias)
    step = gradients(architecture, weights, batch, DEAD, torch.float64)
    agree(step, sparse_step(built_in, weights, batch, DEAD, torch.float64), weights)
    assert (float(step.auxiliary) > 0) == isinstance(built_in, TopK)


def test_a_wrong_gradient_fails_the_comparison() -> None:
    weights = random_weights()
    batch = Batch.of(tokens(), weights.b_dec, True)
    step = dense_step(WrongGradient(0.02), weights, batch, NONE, torch.float64)
    expected = sparse_step(ReLU(0.02), weights, batch, NONE, torch.float64)
    assert float(step.loss) == pytest.approx(float(expected.loss)), "its values are right"
    with pytest.raises(AssertionError, match="not close"):
        agree(step, expected, weights)


def train(name: str, toy: Superposition, steps: int = 60, **settings: Any) -> SAE:
    trainer = SAETrainer(SAESpec(40, name, learning_rate=3e-3, seed=1, **settings), toy.activations, steps)
    for batch in toy.activations[: steps * 128].split(128):
        trainer.step(batch)
    return trainer.finish()


@pytest.mark.parametrize(
    ("name", "built_in", "settings"),
    [
        ("autograd-topk", "topk", {"k": 3, "dead_after_tokens": 1000}),
        ("autograd-relu", "relu", {"l1": 0.02, "resample_at": (0.5,), "dead_after_tokens": 500}),
    ],
)
def test_training_ends_in_the_weights_of_the_built_in(
    name: str, built_in: str, settings: dict[str, Any], small_toy: Superposition
) -> None:
    found, expected = train(name, small_toy, **settings), train(built_in, small_toy, **settings)
    for tensor in ("W_enc", "b_enc", "W_dec", "b_dec"):
        assert_close(getattr(found, tensor), getattr(expected, tensor), rtol=0, atol=2e-4)
    x = small_toy.activations[:500]
    assert_allclose(found.encode(x).toarray(), expected.encode(x).toarray(), atol=2e-3)
    moved = float((expected.W_dec - train(built_in, small_toy, 1, **settings).W_dec).abs().max())
    assert moved > 0.1, "training has changed them by far more than that"


def test_a_wrong_gradient_trains_other_weights(small_toy: Superposition) -> None:
    wrong, right = (train(name, small_toy, l1=0.02) for name in ("wrong-gradient", "relu"))
    assert float((wrong.W_enc - right.W_enc).abs().max()) > 0.01, "50 times the tolerance"


@pytest.mark.parametrize("pre_bias", [True, False])
def test_own_parameters_and_penalties_have_their_gradients(pre_bias: bool) -> None:
    """Against autograd on the whole objective, by PyTorch's own operators."""
    gated, x = Gated(0.05), tokens()
    weights = random_weights(gated)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.tensors().items()}
    centred = x - leaves["b_dec"]
    pre = (centred if pre_bias else x) @ leaves["W_enc"].T + leaves["b_enc"]
    acts = (pre > 0) * (leaves["log_gain"].exp() * pre + leaves["shift"]).relu()
    by_gate = pre.relu() @ leaves["W_dec"].detach() - (x - weights.b_dec)
    loss = (acts @ leaves["W_dec"] - centred).square().mean() + by_gate.square().mean()
    loss = loss + 0.05 * pre.relu().sum(dim=1).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    step = dense_step(gated, weights, Batch.of(x, weights.b_dec, pre_bias), NONE, torch.float64)
    assert float(step.loss) == pytest.approx(float(loss.detach()), rel=1e-11)
    found = step.gradients(weights).tensors()
    assert set(found) == {"W_enc", "b_enc", "W_dec", "b_dec", "log_gain", "shift"}
    for name, gradient in found.items():
        assert_close(gradient, leaves[name].grad, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["gated", "softplus"])
def test_codes_are_those_of_training_in_the_activations_units(name: str, small_toy: Superposition) -> None:
    sae, x = train(name, small_toy, 20, l1=0.01), small_toy.activations[:300]
    assert abs(sae.scale - 1) > 0.2, "so that a scale left out would show"
    pre = (x * sae.scale - sae.b_dec * sae.scale) @ sae.W_enc + sae.b_enc * sae.scale
    architecture = build_architecture(name, {})
    assert isinstance(architecture, AutogradArchitecture)
    expected = architecture.forward(pre, sae.parameters) / sae.scale
    assert_allclose(sae.encode(x).toarray(), expected.numpy(), atol=1e-5)
    halved = sae.scaled(0.5)
    assert_allclose(halved.encode(x).toarray(), 2 * sae.encode(0.5 * x).toarray(), atol=1e-5)


def test_it_is_saved_and_loaded_where_it_is_registered(small_toy: Superposition, tmp_path: Path) -> None:
    sae, x = train("gated", small_toy, 20, l1=0.01), small_toy.activations[:300]
    again = SAE.load(sae.save(tmp_path / "sae"))
    assert (again.hash, again.settings, again.scale) == (sae.hash, {"l1": 0.01}, sae.scale)
    assert_close(again.parameters["shift"], sae.parameters["shift"], rtol=0, atol=0)
    assert_allclose(again.encode(x).toarray(), sae.encode(x).toarray())
    assert replace(sae, parameters={**sae.parameters, "shift": sae.parameters["shift"] + 1}).hash != sae.hash
    with pytest.raises(ModelError, match="SAELens has no architecture 'gated'; write the SAE with save instead"):
        sae.export(tmp_path / "exported")
    with pytest.raises(FormatError, match=r"parameters of a gated SAE: expected shapes .*shift \[40\], found none"):
        replace(sae, parameters={})
    with pytest.raises(FormatError, match="shift of the SAE holds NaN or infinity"):
        replace(sae, parameters={**sae.parameters, "shift": sae.parameters["shift"] / 0})
    del ARCHITECTURES["gated"]
    with pytest.raises(
        FormatError, match=r"unknown SAE architecture 'gated'; .* import the module that calls .*register_architecture"
    ):
        SAE.load(tmp_path / "sae")


def test_settings_that_the_spec_lacks_are_kept(small_toy: Superposition, tmp_path: Path) -> None:
    sae, x = train("softplus", small_toy, 5), small_toy.activations[:100]
    assert sae.settings == {"sharpness": 3.0}
    other = replace(sae, settings={"sharpness": 1.0})
    assert other.hash != sae.hash
    assert abs(SAE.load(other.save(tmp_path / "sae")).encode(x) - sae.encode(x)).max() > 0.05


def test_a_grid_trains_it_beside_others_and_resumes(small_toy: Superposition, tmp_path: Path) -> None:
    def trainers() -> dict[tuple[str, str], SAETrainer]:
        names = ("gated", "topk")
        return {("m", name): SAETrainer(SAESpec(32, name, k=3), small_toy.activations, 12) for name in names}

    def batches(start: int, stop: int = 12) -> Iterator[dict[str, Tensor]]:
        yield from ({"m": small_toy.activations[step * 64 : (step + 1) * 64]} for step in range(start, stop))

    whole, resumed = trainers(), trainers()
    train_grid(whole, batches, tmp_path / "whole")
    with pytest.raises(Exception, match="the activations ended after 7 of 12 steps"):
        train_grid(trainers(), lambda start: batches(start, 7), tmp_path / "killed", checkpoint_steps=3)
    train_grid(resumed, batches, tmp_path / "killed", checkpoint_steps=3)
    for key, trainer in whole.items():
        assert resumed[key].finish().hash == trainer.finish().hash
    assert bool((whole["m", "gated"].finish().parameters["shift"] != torch.full((32,), 0.2)).any())


def test_a_name_that_is_taken_and_classes_that_are_no_architecture_are_refused() -> None:
    with pytest.raises(ModelError, match=r"name 'topk' is taken by universality\.sae\.architectures\.topk\.TopK; choo"):
        register_architecture("topk", Gated)
    with pytest.raises(ModelError, match=r"the architecture name 'gated' is taken by .*Gated; choose another"):
        register_architecture("gated", Softplus)
    register_architecture("gated", Gated)  # as when its module is imported again
    with pytest.raises(ModelError, match="architecture 'dict' must be a dataclass derived from AutogradArchitecture"):
        register_architecture("dict", dict)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Needy(AutogradArchitecture):
    temperature: float


@dataclass(frozen=True)
class Misshapen(AutogradArchitecture):
    def parameters(self, d_sae: int) -> dict[str, Tensor]:
        return {"gain": torch.ones(3)}


@dataclass(frozen=True)
class Negative(AutogradArchitecture):
    def forward(self, pre: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        return pre


def test_architectures_that_cannot_work_are_refused(small_toy: Superposition) -> None:
    for name, architecture in (("needy", Needy), ("misshapen", Misshapen), ("negative", Negative)):
        register_architecture(name, architecture)
    x = small_toy.activations[:100]
    with pytest.raises(ModelError, match="'needy' needs temperature, which SAESpec lacks; give it a default"):
        SAETrainer(SAESpec(8, "needy"), x, 1)
    with pytest.raises(ModelError, match=r"shape \[d_sae = 8, …\]; found gain of shape \[3\]"):
        SAETrainer(SAESpec(8, "misshapen"), x, 1)
    with pytest.raises(ModelError, match=r"Negative.forward must return activations of at least 0 .* least value -\d"):
        SAETrainer(SAESpec(8, "negative"), x, 1).step(x)


def test_unknown_architecture() -> None:
    with pytest.raises(ModelError, match="unknown SAE architecture 'gate'; known: relu, jumprelu, topk"):
        build_architecture("gate", {})


def test_the_defaults_are_a_relu_without_a_penalty() -> None:
    architecture, pre = Architecture(), torch.tensor([[-1.0, 2.0]])
    assert architecture.inference(None) == architecture.training(None, 5) == FiringRule()
    assert architecture.activate(pre, None).tolist() == [[0.0, 2.0]]
    assert architecture.backward(pre, torch.ones(1, 2), None, 5)[0].tolist() == [[0.0, 1.0]]
    assert (architecture.prefixes(7), architecture.penalty(pre, 1), architecture.aux) == ((7,), 0.0, None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_the_same() -> None:
    gated, x = Gated(0.05), tokens()
    weights, there = random_weights(gated), random_weights(gated, "cuda")
    step = dense_step(gated, weights, Batch.of(x, weights.b_dec, True), NONE, torch.float64)
    on_gpu = dense_step(gated, there, Batch.of(x.cuda(), there.b_dec, True), NONE.cuda(), torch.float64)
    for name, gradient in step.gradients(weights).tensors().items():
        assert_close(on_gpu.gradients(there).tensors()[name].cpu(), gradient, rtol=1e-8, atol=1e-12)
