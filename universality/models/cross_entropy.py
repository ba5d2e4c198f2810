"""Next-token cross-entropy from the final residual stream, a slice of tokens at a time.

A plain ``cross_entropy(x @ W_U.T, target)`` allocates several [n_tokens, d_vocab] arrays for the
forward and the backward pass; on a CPU most of a small model's step is spent faulting them in. Here the
logits of one slice stay in the cache, and their gradient is formed at once, so nothing of that size lives.
"""

import torch
from torch import Tensor

NO_TARGET = -100
_SLICE = 512  # tokens: 512 × 4,096 float32 logits are 8 MB


class _LinearCrossEntropy(torch.autograd.Function):
    """Mean over the tokens with a target of −log softmax(x Wᵀ)[target], gradients formed in the forward pass."""

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
    """Mean next-token loss in nats, without an [n_tokens, d_vocab] array.

    Parameters
    ----------
    x : [n_tokens, d_model]
        What enters the unembedding (after the final norm).
    weight : [d_vocab, d_model]
        The unembedding.
    target : int64 [n_tokens]
        The token that follows, or ``NO_TARGET`` where none counts. (Leaving such rows out instead would give every
        batch another shape, which fragments the C library's heap: gigabytes over a training.)
    products
        Number format of the three matrix products, by default that of ``x``, as softmax and sums are. ``bfloat16`` is
        faster on a CPU that multiplies it (AVX512-BF16, AMX), slower on one that does not.
    """
    loss: Tensor = _LinearCrossEntropy.apply(x, weight, target, products or x.dtype)
    return loss
