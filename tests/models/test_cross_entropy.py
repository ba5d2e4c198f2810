import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from universality.models.cross_entropy import NO_TARGET, linear_cross_entropy


def arguments(n_tokens: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(n_tokens, 6, dtype=dtype, requires_grad=True)
    weight = torch.randn(11, 6, dtype=dtype, requires_grad=True)
    return x, weight, torch.randint(0, 11, (n_tokens,))


def test_equals_the_plain_formulation_across_slices() -> None:
    x, weight, target = arguments(1100, torch.float64)
    loss = linear_cross_entropy(x, weight, target)
    gradients = torch.autograd.grad(3 * loss, (x, weight))
    expected = cross_entropy(x @ weight.T, target)
    assert_close(loss, expected)
    for ours, theirs in zip(gradients, torch.autograd.grad(3 * expected, (x, weight)), strict=True):
        assert_close(ours, theirs)


def test_tokens_without_a_target_count_for_nothing() -> None:
    x, weight, target = arguments(1100, torch.float64)
    target[::3] = NO_TARGET
    loss = linear_cross_entropy(x, weight, target)
    expected = cross_entropy(x @ weight.T, target, ignore_index=NO_TARGET)
    assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (x, weight)), torch.autograd.grad(expected, (x, weight)), strict=True
    ):
        assert_close(ours, theirs)


def test_gradcheck() -> None:
    x, weight, target = arguments(7, torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: linear_cross_entropy(a, b, target), (x, weight))


def test_bfloat16_products_stay_near() -> None:
    x, weight, target = arguments(600, torch.float32)
    near = linear_cross_entropy(x, weight, target, torch.bfloat16)
    assert_close(near, linear_cross_entropy(x, weight, target), rtol=0, atol=2e-2)
    assert not torch.equal(near, linear_cross_entropy(x, weight, target))
