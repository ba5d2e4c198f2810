"""Number of cores for small passes of a model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from universality.sae.compute.workers import one_core

ONE_CORE = 1e9
"""Multiply-adds of a pass below which it runs on one core. Where other programs keep the cores busy, threads wait for
each other longer than they work: at a load of 15 on two cores, a sentence took 0.03 s of processor on one of them and
0.1 s on both, and four texts of 20 tokens 1.5 s and 19 s of the clock."""


def cores_for(multiply_adds: float) -> AbstractContextManager[None]:
    """Use one core in a block if its passes are small, else all."""
    return one_core() if multiply_adds < ONE_CORE else nullcontext()
