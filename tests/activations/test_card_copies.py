"""Copies to a device; on a CPU nothing is copied. `tests/gpu/test_card.py` copies to a card."""

from __future__ import annotations

import torch

from universality.activations.card_copies import copied_to, page_locked


def test_a_cpu_gets_the_array_itself() -> None:
    cpu = torch.device("cpu")
    rows = page_locked((3, 2), torch.bfloat16, cpu)
    assert rows.shape == (3, 2)
    assert rows.dtype == torch.bfloat16
    assert not rows.is_pinned()
    assert copied_to(cpu, rows) is rows
