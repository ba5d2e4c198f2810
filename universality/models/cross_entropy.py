"""Next-token cross-entropy from the final residual stream, computed one slice of tokens at a time.

A plain ``cross_entropy(x @ W_U.T, target)`` allocates several [n_tokens, d_vocab] arrays for the forward and the
backward pass. On a CPU, page faults of these arrays take most of a small model's training step. Here the logits of one
slice stay in the processor's cache and their gradient is formed at once, so no array of that size is allocated.
"""

import torch
from torch import Tensor

NO_TARGET = -100
"""Target of a token whose successor does not count (PyTorch's ``ignore_index``)."""
_SLICE = 512  # tokens: 512 × 4,096 float32 logits are 8 MB


class _LinearCrossEntropy(torch.autograd.Function):
    """Mean of −log softmax(x Wᵀ)[target] over tokens with a target; the forward pass forms the gradients."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:  # type: ignore[no-untyped-def, override]
        counts = (target != NO_TARGET).to(x.dtype)
        n_targets = counts.sum()
        loss = x.new_zeros(())
        grad_x, grad_weight = torch.empty_like(x), torch.zeros_like(weight)
        factor = weight.to(dtype)
        factor_t = factor.T.contiguous()
        for start in range(0, len(x), _SLICE):
            part = slice(start, start + _SLICE)
            rows = x[part].to(dtype)
            logits = (rows @ factor_t).to(x.dtype)
            log_norm = torch.logsumexp(logits, dim=-1)
            picked = target[part, None].clamp(min=0)
            loss += (log_norm - logits.gather(-1, picked).squeeze(-1)) @ counts[part]
            # d loss / d logits = softmax − one-hot(target), written over the logits
            grad_logits = logits.sub_(log_norm[:, None]).exp_()
            grad_logits.scatter_add_(-1, picked, grad_logits.new_full(picked.shape, -1.0))
            grad_logits = grad_logits.mul_((counts[part] / n_targets)[:, None]).to(dtype)
            grad_x[part] = (grad_logits @ factor).to(x.dtype)
            grad_weight += (grad_logits.T @ rows).to(weight.dtype)
        ctx.save_for_backward(grad_x, grad_weight)
        return loss / n_targets

    @staticmethod
    def backward(ctx, grad_loss: Tensor):  # type: ignore[no-untyped-def, override]
        grad_x, grad_weight = ctx.saved_tensors
        return grad_loss * grad_x, grad_loss * grad_weight, None, None


def linear_cross_entropy(x: Tensor, weight: Tensor, target: Tensor, products: torch.dtype | None = None) -> Tensor:
    """Compute the mean next-token loss in nats without an [n_tokens, d_vocab] array.

    Parameters
    ----------
    x : [n_tokens, d_model]
        Input of the unembedding (after the final norm).
    weight : [d_vocab, d_model]
        The unembedding.
    target : int64 [n_tokens]
        The token that follows, or ``NO_TARGET``. Rows without a target are masked rather than removed: batches of
        varying shape fragment the C library's heap, by gigabytes over a training run.
    products
        Number format of the three matrix products, by default that of ``x``; softmax and sums always use that of
        ``x``. ``bfloat16`` is faster on CPUs with instructions for it (AVX512-BF16, AMX) and slower on others.
    """
    loss: Tensor = _LinearCrossEntropy.apply(x, weight, target, products or x.dtype)
    return loss
