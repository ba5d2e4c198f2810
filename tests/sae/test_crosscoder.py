"""One dictionary for two models: planted shared and exclusive features are told apart, in any units and widths."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.testing import assert_close
from two_models import FIRING, WIDTHS, World, plant

from universality.activations import joined
from universality.errors import FormatError, MismatchError
from universality.sae import Crosscoder, SAESpec, SAETrainer
from universality.sae.activation_summary import summarise
from universality.sae.architectures import build_architecture
from universality.sae.compute.batch_gradients import Batch
from universality.sae.compute.dispatch import gradients
from universality.sae.training.initialisation import initial_weights
from universality.statistics import feature_classes

STEPS, BATCH = 700, 256
pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = SAESpec(96, "batchtopk", k=FIRING, learning_rate=1e-2, dead_after_tokens=5000, seed=7)


def train(world: World, spec: SAESpec = SPEC, steps: int = STEPS) -> Crosscoder:
    x = joined(world.activations, world.scales)
    trainer = SAETrainer(spec, x, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps if spec.train_decoder else 0):
        trainer.step(x[torch.randint(len(x), (BATCH,), generator=generator)])
    return Crosscoder(
        trainer.finish({"hook": "here"}), ("A", "B"), tuple(WIDTHS.values()), tuple(world.scales.values())
    )


def named(crosscoder: Crosscoder, world: World) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each concept the feature whose rows, both models together, are nearest to it, and their cosine."""
    truth = joined(world.rows, world.scales)
    truth /= truth.norm(dim=1, keepdim=True)
    cosine, feature = (truth @ crosscoder.sae.W_dec.T).max(dim=1)
    return feature.numpy(), cosine.numpy()


@pytest.fixture(scope="module")
def world() -> World:
    return plant()


@pytest.fixture(scope="module")
def learnt(world: World) -> Crosscoder:
    return train(world)


def living(crosscoder: Crosscoder, world: World) -> NDArray[np.bool_]:
    part = {name: x[:5000] for name, x in world.activations.items()}
    found: NDArray[np.bool_] = np.asarray((crosscoder.encode(part) > 0).sum(axis=0)).ravel() > 5
    return found


def test_shared_and_exclusive_features_are_told_apart(world: World, learnt: Crosscoder) -> None:
    feature, cosine = named(learnt, world)
    assert (cosine > 0.95).all()
    assert np.unique(feature).size == feature.size
    classes = feature_classes(learnt.relative_norms[1])
    assert (classes[feature] == world.kind).mean() > 0.98  # recall
    alive = np.flatnonzero(living(learnt, world))
    of = dict(zip(feature.tolist(), world.kind.tolist(), strict=True))
    right = [of.get(f) == classes[f] for f in alive.tolist()]
    assert np.mean(right) > 0.9  # precision


def test_without_common_tokens_nothing_is_shared(world: World) -> None:
    """The control: the same activations, but B's tokens in another order."""
    order = torch.randperm(len(world.activations["B"]), generator=torch.Generator().manual_seed(1))
    apart = replace(world, activations={**world.activations, "B": world.activations["B"][order]})
    found = train(apart)
    classes = feature_classes(found.relative_norms[1])[living(found, apart)]
    assert (classes == "shared").mean() < 0.02
    assert np.isin(classes, ["exclusive A", "exclusive B"]).mean() > 0.9


def test_an_untrained_crosscoder_knows_no_concept(world: World) -> None:
    """Its rows are about as long in both models, so norms alone would call it shared."""
    found = train(world, replace(SPEC, train_decoder=False))
    assert (feature_classes(found.relative_norms[1]) == "shared").mean() > 0.9
    assert (named(found, world)[1] > 0.9).mean() < 0.05


def test_a_frozen_world_of_other_units_is_learnt_alike(world: World) -> None:
    """Units of a model, and which models' widths differ, must not move relative norms."""
    spec, few = SPEC, 60
    usual, other = (train(plant(seed=5, unit_of_b=unit), spec, few) for unit in (7.0, 0.01))
    assert_close(torch.from_numpy(usual.relative_norms), torch.from_numpy(other.relative_norms), atol=1e-2, rtol=0)


def test_gradients_are_those_of_the_sum_over_models(world: World) -> None:
    """The joint step against autograd of the loss written model by model, each with its own encoder and decoder."""
    x = {name: value[:64].double() * world.scales[name] for name, value in world.activations.items()}
    summary = summarise(joined(world.activations, world.scales)[:500])
    weights = initial_weights(SPEC.d_sae, summary, seed=3)
    whole = {name: tensor.double() for name, tensor in weights.tensors().items()}
    kind = build_architecture("batchtopk", SPEC.as_dict())
    batch = Batch.of(joined(x, dict.fromkeys(x, 1.0)), whole["b_dec"], True)
    step = gradients(kind, type(weights)(**whole), batch, torch.zeros(0, dtype=torch.int64), torch.float64)
    found = step.gradients(type(weights)(**whole)).tensors()
    columns = {"A": slice(0, WIDTHS["A"]), "B": slice(WIDTHS["A"], sum(WIDTHS.values()))}
    own = {
        (key, name): (whole[key][..., part]).clone().requires_grad_()
        for key in ("W_enc", "W_dec", "b_dec")
        for name, part in columns.items()
    }
    b_enc = whole["b_enc"].clone().requires_grad_()
    z = b_enc + sum((x[m] - own["b_dec", m]) @ own["W_enc", m].T for m in columns)
    bar = z.flatten().topk(FIRING * len(z)).values[-1]
    acts = torch.where((z >= bar) & (z > 0), z, 0)
    errors = [(acts @ own["W_dec", m] + own["b_dec", m] - x[m]).square().sum() for m in columns]
    (sum(errors) / batch.inputs.numel()).backward()
    for (key, name), tensor in own.items():
        assert_close(found[key][..., columns[name]], tensor.grad, rtol=1e-9, atol=1e-12)
    assert_close(found["b_enc"], b_enc.grad, rtol=1e-9, atol=1e-12)


def test_the_part_of_a_model_is_in_its_own_units(world: World, learnt: Crosscoder) -> None:
    part = {name: x[:300] for name, x in world.activations.items()}
    features = learnt.encode(part)
    made = learnt.decode(features)
    for name, x in part.items():
        np.testing.assert_allclose(learnt.of(name).decode(features), made[name], rtol=1e-4, atol=1e-4)
        error = np.square(made[name] - x.numpy()).sum() / np.square(x.numpy() - x.numpy().mean(axis=0)).sum()
        assert error < 0.1
    silent = {**part, "B": learnt.of("B").b_dec.expand_as(part["B"])}
    alone = learnt.of("A").encode(part["A"])
    np.testing.assert_allclose(alone.toarray(), learnt.encode(silent).toarray(), rtol=1e-3, atol=1e-3)
    assert abs(alone - features).max() > 0.1  # B says something, too


def test_norms_and_cosines(learnt: Crosscoder) -> None:
    np.testing.assert_allclose(np.square(learnt.norms).sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(learnt.relative_norms.sum(axis=0), 1)
    with pytest.raises(MismatchError, match="a cosine needs one space; 'A' is 40 wide, 'B' 28"):
        learnt.cosines("A", "B")
    halves = Crosscoder(learnt.sae, ("A", "B"), (34, 34), learnt.scales)
    x, y = halves.sae.W_dec[:, :34], halves.sae.W_dec[:, 34:]
    expected = torch.nn.functional.cosine_similarity(x, y, dim=1).numpy()
    np.testing.assert_allclose(halves.cosines("A", "B"), expected, atol=1e-5)


# ---- rows fitted once more -----------------------------------------------------------------------------------------


# ---- files ---------------------------------------------------------------------------------------------------------


def test_what_was_saved_is_loaded(learnt: Crosscoder, world: World, tmp_path: Path) -> None:
    learnt.save(tmp_path / "a")
    found = Crosscoder.load(tmp_path / "a")
    assert (found.models, found.widths, found.scales) == (learnt.models, learnt.widths, learnt.scales)
    assert found.sae.hash == learnt.sae.hash
    assert found.sae.metadata["hook"] == "here"
    assert "crosscoder" not in found.sae.metadata
    part = {name: x[:100] for name, x in world.activations.items()}
    assert (found.encode(part) != learnt.encode(part)).nnz == 0
    found.save(tmp_path / "b")
    for name in ("cfg.json", "sae_weights.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_files_that_are_none_are_refused(learnt: Crosscoder, tmp_path: Path) -> None:
    learnt.sae.save(tmp_path / "sae")
    with pytest.raises(FormatError, match=r"sae: not a crosscoder: expected a list of models .* found NoneType"):
        Crosscoder.load(tmp_path / "sae")
    folder = learnt.save(tmp_path / "torn")
    weights = folder / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(FormatError, match="the file was changed"):
        Crosscoder.load(folder)


@pytest.mark.parametrize(
    ("place", "key", "value", "message"),
    [
        (0, "name", 3, "model 0 of crosscoder: name must be a string, found 3"),
        (0, "name", "B", r"two models or more, each with one name, width and scale; found models \['B', 'B'\]"),
        (1, "d_in", 10**15, "model 1 of crosscoder: d_in must be a whole number"),
        (1, "d_in", 29, r"widths of the models must add up to the dictionary's d_in of 68, found \[40, 29\]"),
        (1, "scale", -1.0, "model 1 of crosscoder: scale must be a number above 0"),
        (1, "scale", None, "it lacks scale"),
    ],
)
def test_contradictions_are_refused(
    place: int, key: str, value: object, message: str, learnt: Crosscoder, tmp_path: Path
) -> None:
    folder = learnt.save(tmp_path / "edited")
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["crosscoder"][place][key] = value
    (folder / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match=message):
        Crosscoder.load(folder)


def test_what_does_not_fit_is_refused(learnt: Crosscoder, world: World) -> None:
    part = {name: x[:10] for name, x in world.activations.items()}
    with pytest.raises(MismatchError, match=r"expected activations of 'B' \[n_tokens, 28\], found shape \(10, 40\)"):
        learnt.encode({**part, "B": part["A"]})
    with pytest.raises(MismatchError, match="the crosscoder is of A, B, not of 'C'"):
        learnt.of("C")
    with pytest.raises(FormatError, match=r"scales of the models must be positive and finite, found \[1.0, inf\]"):
        Crosscoder(learnt.sae, ("A", "B"), learnt.widths, (1.0, float("inf")))
