"""Where kernels compute: not on a CPU without the interpreter, not where Triton fails; the stock path then does."""

from __future__ import annotations

import pytest
import torch

from universality.errors import DeviceWarning
from universality.sae.compute import triton_choice
from universality.sae.compute.triton_choice import uses_kernels


def test_a_cpu_takes_stock_operators_unless_kernels_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_choice, "_installed", lambda: True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not uses_kernels(torch.zeros(1))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert uses_kernels(torch.zeros(1))
    assert not uses_kernels(torch.zeros(1, dtype=torch.bfloat16))
    monkeypatch.setenv("UNIVERSALITY_TRITON", "0")
    assert not uses_kernels(torch.zeros(1))


def test_a_card_on_which_triton_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_choice, "_installed", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda card: (9, 0))
    triton_choice.works_on.cache_clear()
    # a trial on the CPU stands for one on a card without a compiler: Triton is missing here, or has no driver
    with pytest.warns(DeviceWarning, match=r"do not run on cpu .*; PyTorch's own operators train SAEs there"):
        assert not triton_choice.works_on(torch.device("cpu"))
    triton_choice.works_on.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda card: (7, 5))
    assert not triton_choice.works_on(torch.device("cpu"))  # too old a card: nothing is tried, nothing is said
    triton_choice.works_on.cache_clear()
