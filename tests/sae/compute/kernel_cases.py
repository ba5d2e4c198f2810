"""Comparisons of Triton's kernels with the stock path and with slow exact formulations, on any device.

    TRITON_INTERPRET=1 python tests/sae/compute/kernel_cases.py    # on a CPU; prints JSON: case → its error, or ""

Each case takes a device, checks itself, and returns what the kernels made, so that a card may run it twice and compare
bytes. `test_triton_kernels.py` runs all in the interpreter, `tests/gpu/test_card.py` on a card.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.sae.dense_reference import check, random_weights
from universality.sae import SAESpec, SAETrainer
from universality.sae.architectures.base import Architecture
from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.jumprelu import JumpReLU
from universality.sae.architectures.matryoshka import Matryoshka
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK
from universality.sae.compute import triton_encoders as encoders
from universality.sae.compute import triton_kernels as kernels
from universality.sae.compute.batch_gradients import Batch, Step
from universality.sae.compute.dense_gradients import dense_step
from universality.sae.compute.sparse_sums import SparseSum
from universality.sae.compute.torch_gradients import torch_step
from universality.sae.compute.triton_choice import stock_operators, uses_kernels
from universality.sae.compute.weights import Weights
from universality.sae.training.adam import Adam, plain

Case = Callable[[torch.device], list[Tensor]]
CASES: dict[str, Case] = {}
SMALL = encoders.EncoderTiles(tokens=16, features=16, least_panel=32, most_panels=4, inner=16)
"""The interpreter takes a second for a tile of the size that a card takes."""


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_entries(d_in: int, values: str = "normal", long: int = 70) -> SparseSum:
    """Rows without entries (the first, the last, one between), of one entry, and of more than a tile holds."""
    counts = torch.tensor([0, 1, 5, 0, long, 2, 0])
    n = int(counts.sum())
    generator = torch.Generator().manual_seed(1)
    made = torch.randn(n, generator=generator) if values == "normal" else torch.zeros(n)
    made[::4] = 0  # such entries must add nothing
    return SparseSum(
        torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        torch.randperm(n, generator=generator),
        torch.randint(9, (n,), generator=generator),
        made,
        normal(9, d_in, seed=2),
    )


def to(entries: SparseSum, device: torch.device) -> SparseSum:
    fields = {name: getattr(entries, name) for name in ("starts", "order", "rows", "values", "source")}
    return SparseSum(**{name: None if t is None else t.to(device) for name, t in fields.items()})


def one_by_one(entries: SparseSum) -> Tensor:
    """The matrix in float64, entry by entry."""
    made = torch.zeros(len(entries.starts) - 1, entries.source.shape[1], dtype=torch.float64)
    for row in range(len(made)):
        for position in range(int(entries.starts[row]), int(entries.starts[row + 1])):
            entry = position if entries.order is None else int(entries.order[position])
            made[row] += entries.values[entry].double() * entries.source[entries.rows[entry]].double()
    return made


@case
def sums_of_gathered_rows(device: torch.device) -> list[Tensor]:
    found = []
    for d_in in (1, 33, 300):  # one column, an odd number, more than one program's columns
        for ordered in (True, False):
            entries = random_entries(d_in)
            entries = entries if ordered else replace(entries, order=None)
            found.append(to(entries, device).matrix)
            assert_close(found[-1].cpu().double(), one_by_one(entries), rtol=1e-5, atol=1e-5)
            with stock_operators():
                assert_close(found[-1], to(entries, device).matrix, rtol=1e-5, atol=1e-5)
    other = one_by_one(replace(random_entries(33), order=None))
    assert float((found[2].cpu() - other).abs().max()) > 0.1  # another order of the entries is another matrix
    nothing = to(replace(random_entries(33, values="zero")), device).matrix
    assert not nothing.any()
    # infinite rows whose entries have the value 0 are not read
    infinite = replace(random_entries(3, values="zero"), source=torch.full((9, 3), torch.inf))
    assert not to(infinite, device).matrix.any()
    return found


@case
def products_of_gathered_rows(device: torch.device) -> list[Tensor]:
    found = []
    for n, d_in in ((0, 5), (1, 5), (37, 200), (16, 128)):
        generator = torch.Generator().manual_seed(n)
        left, right = (torch.randint(size, (n,), generator=generator) for size in (6, 8))
        a, b = normal(6, d_in), normal(8, d_in, seed=1)
        found.append(kernels.entry_products(left.to(device), a.to(device), right.to(device), b.to(device)))
        expected = (a.double()[left] * b.double()[right]).sum(dim=1)
        assert_close(found[-1].cpu().double(), expected, rtol=1e-5, atol=1e-4)
    assert float((found[2].cpu() - (a[left[:1]] * b[right[:1]]).sum()).abs().max()) > 1
    return found


@case
def sums_of_values(device: torch.device) -> list[Tensor]:
    found = []
    for long in (70, 0):
        entries = random_entries(1, long=long)
        at = to(entries, device)
        assert at.order is not None
        found.append(kernels.sum_values(at.starts, at.order, at.values))
        expected = one_by_one(replace(entries, source=torch.ones(9, 1))).squeeze(1)
        assert_close(found[-1].cpu().double(), expected, rtol=1e-5, atol=1e-5)
    many = torch.arange(41)  # more rows than a program takes, each of one entry
    ones = kernels.sum_values(many.to(device), many[:40].to(device), many[:40].float().to(device))
    assert_close(ones.cpu(), many[:40].float())
    return found


@case
def adam(device: torch.device) -> list[Tensor]:
    """Three steps with a gradient from entries, a dense one, or both, beside elementary operators."""
    made = []
    for d_in in (5, 40):
        for parts in ("entries", "dense", "both"):
            for unit in (True, False):
                made += _adam(device, d_in, parts, unit, decay=0.2 if d_in == 40 and not unit else 0.0)
    assert float((made[0] - made[4]).abs().max()) > 1e-3  # the dense part changes the result
    return made


def _adam(device: torch.device, d_in: int, parts: str, unit: bool, decay: float) -> list[Tensor]:
    weight = torch.nn.functional.normalize(normal(7, d_in, seed=3))
    fused = Adam({"w": weight.clone().to(device)}, 0.9, 0.99, 1e-6)
    expected, first, second = weight.clone(), torch.zeros_like(weight), torch.zeros_like(weight)
    entries = random_entries(d_in) if parts != "dense" else None
    dense = normal(7, d_in, seed=4) if parts != "entries" else None
    scale = torch.tensor(0.3)
    for step in range(3):
        grad = (0 if entries is None else one_by_one(entries).float()) + (0 if dense is None else dense)
        if unit:
            grad = grad - (grad * expected).sum(dim=1, keepdim=True) * expected
        grad = grad + decay * expected
        plain(expected, grad * scale, first, second, 0.01, step, (0.9, 0.99), 1e-6)
        if unit:
            expected /= expected.norm(dim=1, keepdim=True)
        fused.update_rows(
            "w",
            None if dense is None else dense.to(device),
            None if entries is None else to(entries, device),
            scale.to(device), 0.01, step, unit, decay,
        )  # fmt: skip
    made = [fused._parameters["w"], fused.first["w"], fused.second["w"]]
    for tensor, target in zip(made, (expected, first, second), strict=True):
        assert_close(tensor.cpu(), target, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(expected, weight, atol=1e-3)
    return made


def largest_by_sorting(pre: Tensor, k: int) -> Tensor:
    """Rising indices of the k largest of each row, the lower index first where they are equal."""
    return pre.argsort(dim=1, descending=True, stable=True)[:, :k].sort(dim=1).values


@case
def topk_of_whole_numbers(device: torch.device) -> list[Tensor]:
    """Exact in every format, and full of ties: the features must be those of a stable sort."""
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        for n_tokens, d_in, d_sae, k in ((5, 7, 150, 3), (19, 3, 70, 9), (1, 20, 9, 9), (3, 5, 40, 1)):
            generator = torch.Generator().manual_seed(k)
            inputs, encoder = (torch.randint(-2, 3, (n, d_in), generator=generator).float() for n in (n_tokens, d_sae))
            bias = torch.randint(-3, 2, (d_sae,), generator=generator).float()
            inputs[0] = 0  # a token whose pre-activations are the biases, few of them above 0
            pre = inputs @ encoder.T + bias
            arguments = (inputs.to(dtype).to(device), encoder.to(dtype).to(device), bias.to(device), k)
            for tiles in (SMALL, encoders.EncoderTiles()) if device.type == "cuda" else (SMALL,):
                values, features = encoders.encode_topk(*arguments, tiles)
                assert torch.equal(features.cpu(), largest_by_sorting(pre, k)), (dtype, n_tokens, d_in, d_sae, k)
                assert torch.equal(values.cpu(), pre.gather(1, features.cpu()))
            made += [values, features]
    assert not torch.equal(features.cpu(), largest_by_sorting(-pre, k))
    return made


@case
def topk_of_random_numbers(device: torch.device) -> list[Tensor]:
    """Within rounding of float64: on a card at a width of several panels and a k that fills its slots."""
    on_card = device.type == "cuda"
    n_tokens, d_in, d_sae, k = (300, 200, 5000, 128) if on_card else (18, 21, 70, 16)
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        inputs, encoder = normal(n_tokens, d_in).to(dtype), normal(d_sae, d_in, seed=1).to(dtype)
        bias = normal(d_sae, seed=2)
        exact = inputs.double() @ encoder.double().T + bias.double()
        tiles = encoders.EncoderTiles() if on_card else SMALL
        values, features = encoders.encode_topk(inputs.to(device), encoder.to(device), bias.to(device), k, tiles)
        assert_close(values.cpu().double(), exact.gather(1, features.cpu()), rtol=1e-5, atol=1e-4)
        assert_close(values.cpu().double().sum(dim=1), exact.topk(k, dim=1).values.sum(dim=1), rtol=1e-5, atol=1e-4)
        assert bool((features.diff(dim=1) > 0).all())
        made += [values, features]
    return made


@case
def entries_above_whole_numbers(device: torch.device) -> list[Tensor]:
    """Exact in every format; many equal their floor, which does not fire, and some tokens have no entry at all."""
    made = []
    on_card = device.type == "cuda"
    for dtype in (torch.float32, torch.bfloat16):
        # one panel and several; with few entries, with more than the first slots hold, and with too many
        for n_tokens, d_in, d_sae, bar in (
            (5, 7, 150, 12),
            (19, 3, 70, 6),
            (1, 20, 9, 0),
            (19, 3, 70, 3),
            (5, 7, 150, 0),
        ):
            generator = torch.Generator().manual_seed(d_sae)
            inputs, encoder = (torch.randint(-2, 3, (n, d_in), generator=generator).float() for n in (n_tokens, d_sae))
            bias = torch.randint(-3, 2, (d_sae,), generator=generator).float()
            floor = bar + torch.randint(-1, 2, (d_sae,), generator=generator).float()
            inputs[0] = 0  # a token whose pre-activations are the biases
            pre = inputs @ encoder.T + bias
            assert bool((pre == floor).any())
            arguments = (inputs.to(dtype).to(device), encoder.to(dtype).to(device), bias.to(device), floor.to(device))
            for tiles in (SMALL, encoders.EncoderTiles()) if on_card else (SMALL,):
                found = encoders.encode_above(*arguments, tiles)
                panel = tiles.panels(d_sae, d_in)[1]
                most = max(int((part > low).sum(dim=1).max()) for part, low in _panels(pre, floor, panel))
                assert (found is None) == (most > panel / 4), (most, panel)
                if found is None:
                    continue
                token, feature = (pre > floor).nonzero(as_tuple=True)
                assert torch.equal(found.token.cpu(), token)
                assert torch.equal(found.feature.cpu(), feature)
                assert torch.equal(found.values.cpu(), pre[token, feature])
                made += [found.token, found.feature, found.values]
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(encoders, "SLOTS_AT_ONCE", 3 * (d_sae // panel + 1) * int(panel / 16))
                    by_parts = encoders.encode_above(*arguments, tiles)  # three tokens at a time, or four
                for name, tensor in asdict(by_parts).items():
                    assert torch.equal(tensor, getattr(found, name))
    assert len(made) % 3 == 0
    nothing = encoders.encode_above(*arguments[:3], torch.full((d_sae,), torch.inf, device=device), SMALL)
    assert nothing is not None
    assert not len(nothing.values)
    return made


def _panels(pre: Tensor, floor: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(pre.split(size, dim=1), floor.split(size), strict=True))


@case
def entries_above_of_random_numbers(device: torch.device) -> list[Tensor]:
    """Within rounding of float64; on a card at a width of several panels, where the slots of some tokens overflow."""
    on_card = device.type == "cuda"
    n_tokens, d_in, d_sae = (300, 200, 5000) if on_card else (18, 21, 70)
    made = []
    for dtype in (torch.float32, torch.bfloat16):
        inputs, encoder = normal(n_tokens, d_in).to(dtype), normal(d_sae, d_in, seed=1).to(dtype)
        inputs[3] *= 1.5  # fires on more features than the first slots hold
        bias, floor = normal(d_sae, seed=2), 1.8 * d_in**0.5 + normal(d_sae, seed=3).abs()
        exact = inputs.double() @ encoder.double().T + bias.double()
        tiles = encoders.EncoderTiles() if on_card else SMALL
        found = encoders.encode_above(*(t.to(device) for t in (inputs, encoder, bias, floor)), tiles)
        assert found is not None
        token, feature = found.token.cpu(), found.feature.cpu()
        assert_close(found.values.cpu().double(), exact[token, feature], rtol=1e-5, atol=1e-4)
        here = torch.zeros(exact.shape, dtype=torch.bool)
        here[token, feature] = True
        assert len(token) == int(here.sum())  # none twice
        assert float((exact - floor)[here].min()) > -1e-3
        assert float((exact - floor)[~here].max()) < 1e-3
        assert bool((torch.diff(token * d_sae + feature) > 0).all())
        panel = tiles.panels(d_sae, d_in)[1]
        most = max(int(part.sum(dim=1).max()) for part in here.split(panel, dim=1))
        assert most > int(panel * encoders.FIRST_SLOTS)
        made += [found.token, found.feature, found.values]
    return made


KINDS: dict[str, Architecture] = {
    "topk": TopK(5, aux_weight=0.5),
    "topk with few dead features in AuxK": TopK(5, aux_k=1, aux_weight=0.5),
    "batchtopk": BatchTopK(4, aux_weight=0.5),
    "matryoshka": Matryoshka(4, aux_weight=0.5, nested=(7, 20)),
    "relu": ReLU(0.02),
    "jumprelu": JumpReLU(0.03, bandwidth=0.4),
}
DEAD = torch.tensor([3, 4, 17, 30, 31, 36])


def small_weights(kind: Architecture, device: torch.device) -> Weights:
    weights = random_weights(n_features=37, d_in=12, threshold=isinstance(kind, JumpReLU))
    return Weights(**{name: tensor.to(device) for name, tensor in weights.tensors().items()})


def steps(device: torch.device, kind: Architecture) -> list[Tensor]:
    """All gradients in float64 against autograd, with dead features and none, and where nothing fires."""
    x = normal(13, 12, seed=1).double().to(device)
    weights = small_weights(kind, device)
    assert uses_kernels(weights.W_dec)
    made = []
    for dead in (DEAD, DEAD[:0]):
        step = check(kind, "torch", weights, x, dead=dead.to(device))
        made += list(step.gradients(weights).tensors().values())
    weights.b_enc.fill_(-50)
    step = check(kind, "torch", weights, x, dead=DEAD[:0].to(device))
    assert int(step.firings.sum()) == 0
    return made


def float32_steps(device: torch.device, kind: Architecture) -> list[Tensor]:
    """The same in float32 and bfloat16, which a kernel encodes, against float64."""
    made = []
    x, exact_weights = normal(21, 12, seed=1), small_weights(kind, torch.device("cpu"))
    exact = torch_step(kind, exact_weights, Batch.of(x.double(), exact_weights.b_dec, True), DEAD, torch.float64)
    weights = Weights(**{name: tensor.float().to(device) for name, tensor in exact_weights.tensors().items()})
    for products, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.5)):
        batch = Batch.of(x.to(device), weights.b_dec, True)
        step = torch_step(kind, weights, batch, DEAD.to(device), products)
        for name, gradient in step.gradients(weights).tensors().items():
            expected = exact.gradients(exact_weights).tensors()[name]
            assert float((gradient.cpu() - expected).norm()) <= tolerance * float(expected.norm()), (name, products)
            made.append(gradient)
    return made


def updates(device: torch.device, name: str) -> list[Tensor]:
    """Weights and moments after two steps of a trainer that uses kernels, and one that uses stock operators.

    Adam divides a gradient by its size, so that one which rounding alone made could move a weight by the full rate;
    epsilon is set above such.
    """
    settings = {"matryoshka": {"nested": (10,)}, "topk": {"weight_decay": 0.05}}.get(name, {})
    x = normal(60, 11, seed=5).to(device)

    def learn(train_decoder: bool, way: Callable[..., Step]) -> list[Tensor]:
        spec = SAESpec(
            29, name, k=3, dead_after_tokens=1, epsilon=1e-4, train_decoder=train_decoder, **settings,  # type: ignore[arg-type]
        )  # fmt: skip
        trainer = SAETrainer(spec, x, 10)
        for count in range(2):
            dead = torch.tensor([2, 11], device=device)
            batch = Batch.of(x[30 * count :][:21] * trainer.scale, trainer.weights.b_dec, True)
            trainer._update(way(trainer.architecture, trainer.weights, batch, dead), 0.01)
        state = trainer._adam
        return [*trainer.weights.tensors().values(), *state.first.values(), *state.second.values()]

    made = []
    ways = [(torch_step, True), *([(torch_step, False)] if name == "topk" else [])]
    ways += [(dense_step, True)] if name in ("relu", "jumprelu") else []
    for way, train_decoder in ways:
        found = learn(train_decoder, way)
        with stock_operators():
            expected = learn(train_decoder, way)
        for tensor, target in zip(found, expected, strict=True):
            assert_close(tensor, target, rtol=1e-3, atol=1e-5)
        made += found
    return made


def _add(label: str, function: Callable[..., list[Tensor]], argument: object) -> None:
    CASES[label] = lambda device: function(device, argument)


for _label, _kind in KINDS.items():
    _add(f"gradients of {_label}", steps, _kind)
    if "few" not in _label:
        _add(f"gradients of {_label} in float32 and bfloat16", float32_steps, _kind)
for _name in ("topk", "batchtopk", "matryoshka", "relu", "jumprelu"):
    _add(f"steps of {_name}", updates, _name)


@case
def all_architectures_are_encoded_by_kernels(device: torch.device) -> list[Tensor]:
    """Without the kernel no step can be computed, so the comparisons above were of it."""

    def fail(*arguments: object) -> None:
        raise NotImplementedError

    x = normal(21, 12, seed=1).to(device)
    for label, kind in KINDS.items():
        exact = small_weights(kind, device)
        weights = Weights(**{name: tensor.float() for name, tensor in exact.tensors().items()})
        name = "encode_topk" if "topk" in label and label != "batchtopk" else "encode_above"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(encoders, name, fail)
            with pytest.raises(NotImplementedError):
                torch_step(kind, weights, Batch.of(x, weights.b_dec, True), DEAD[:0].to(device))
    return []


@case
def stock_operators_replace_the_kernels(device: torch.device) -> list[Tensor]:
    """The control of all comparisons: within the block kernels are not used, after it they are."""
    tensor = torch.zeros(1, device=device)
    with stock_operators():
        assert not uses_kernels(tensor)
        with stock_operators():
            pass
        assert not uses_kernels(tensor)
    assert uses_kernels(tensor)
    assert not uses_kernels(tensor.half())
    assert asdict(SMALL) != asdict(encoders.EncoderTiles())
    with pytest.raises(AssertionError):
        assert_close(tensor, tensor + 1)
    return []


def main() -> None:
    problems = {}
    for name in sys.argv[1:] or CASES:
        try:
            CASES[name](torch.device("cpu"))
            problems[name] = ""
        except Exception:
            problems[name] = traceback.format_exc()
    print(json.dumps(problems))


if __name__ == "__main__":
    main()
