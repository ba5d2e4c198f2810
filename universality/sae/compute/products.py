"""Dense products, by the fastest operator in the number format asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x · weightᵀ + bias by oneDNN."""
    # On AMD processors MKL, which PyTorch uses, leaves AVX-512 unused and is half as fast.
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


def gives_linear(function: Callable[[Tensor, Tensor, Tensor | None], Tensor]) -> bool:
    """Whether a private operator of this PyTorch can be called like `linear` and gives the same, as tried here."""
    x, weight, bias = (torch.arange(float(n)).reshape(shape) for n, shape in ((6, (2, 3)), (12, (4, 3)), (4, (4,))))
    try:
        return all(torch.allclose(function(x, weight, b), nn.functional.linear(x, weight, b)) for b in (None, bias))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False


_ONEDNN = torch.backends.mkldnn.is_available() and gives_linear(_onednn)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x · weightᵀ + bias.

    Parameters
    ----------
    x : [n_tokens, d_in]
    weight : [d_sae, d_in]
    bias : [d_sae]

    Returns
    -------
    Tensor [n_tokens, d_sae]
        In the number format of ``x``, which the others must share.
    """
    if _ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu":
        return _onednn(x, weight, bias)
    return nn.functional.linear(x, weight, bias)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Compute a · b for matrices, contiguous or not."""
    return linear(a, b.T)


def fast_products(device: torch.device | str = "cpu") -> Literal["float32", "bfloat16"]:
    """Name the faster number format: bfloat16 where the processor has instructions for it (AVX512-BF16, AMX, GPUs)."""
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    get_capabilities = getattr(torch.cpu, "get_capabilities", dict)  # newer than the oldest torch that is allowed
    capabilities: dict[str, bool] = get_capabilities()
    return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"
