"""Estimate the processor time of what the findings still have to train."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import torch
from laboratory import ARCHITECTURE, BATCH, Laboratory, Trained, Wanted

from universality.sae import SAESpec, SAETrainer

TIMED_STEPS = 4
EPOCH_SECONDS = {"bfloat16": 390.0, "float32": 550.0}
"""Processor seconds of a model's pass over the starter corpus (4.9 M tokens, one layer) by the format of its products,
from four steps on one core of an AMD EPYC with AVX512-BF16."""


def estimate(lab: Laboratory, wanted: Iterable[Wanted]) -> str:
    """Describe how many SAEs and models are missing and what their training costs, from a few timed steps.

    Reading activations, collecting features and comparing SAEs come on top, about a fifth.
    """
    missing = lab.untrained(wanted)
    steps = Counter[SAESpec]()
    for sae in missing:
        steps[replace(sae.spec, seed=0)] += sae.steps
    seconds = sum(seconds_of_a_step(spec) * n for spec, n in steps.items())
    models = {sae.model for sae in missing if isinstance(sae.model, Trained) and not lab.has_model(sae.model)}
    of_models = sum(EPOCH_SECONDS[model.products] * model.epochs for model in models)
    return (
        f"{len(missing)} SAEs to train, about {seconds / 60:.0f} processor minutes; "
        f"{len(models)} language models, about {of_models / 60:.0f}"
    )


def seconds_of_a_step(spec: SAESpec, d_in: int = ARCHITECTURE.d_mlp) -> float:
    """Time a step of a trainer on random activations: processor seconds."""
    x = torch.randn(BATCH, d_in, generator=torch.Generator().manual_seed(0)).relu()
    trainer = SAETrainer(spec, x, total_steps=100)
    trainer.step(x)  # allocates and compiles
    begin = time.process_time()
    for _ in range(TIMED_STEPS):
        trainer.step(x)
    return (time.process_time() - begin) / TIMED_STEPS
