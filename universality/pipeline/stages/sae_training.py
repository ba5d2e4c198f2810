"""Specifications of the SAEs of a study, and the stream of batches that they learn from."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

from universality.activations import Site, shuffled_batches
from universality.config import SEEDS_OF_A_MODEL, Config
from universality.corpus import TokenBlocks
from universality.pipeline.study import sae_grid
from universality.sae import ActivationSummary, SAESpec, fast_products, summarise

SAMPLE = 8192
"""Tokens from which SAEs are initialised and activations normalised."""
Key = tuple[str, str]
"""(model, SAE), as in ``("A", "w512-s0")``."""


class Stream:
    """Batches of a study from any step on; the first ones are held, since SAEs are initialised from them.

    Attributes
    ----------
    samples
        Model → the first activations [n_tokens, d_in] of the stream.
    """

    def __init__(self, sites: Mapping[str, Site], train: TokenBlocks, **options: Any) -> None:
        self._from = partial(shuffled_batches, sites, train, **options)
        self._batches = self._from()
        sample = min(SAMPLE, max(1, train.n_tokens // 2))  # a text shorter than the sample still leaves batches to read
        self._first = list(islice(self._batches, -(-sample // options["batch_size"])))
        self.samples = {name: torch.cat([batch[name] for batch in self._first])[:sample] for name in sites}

    def from_step(self, start: int) -> Iterator[Mapping[str, Tensor]]:
        """Return the batches from a step on; may be called once."""
        first, self._first = self._first, []
        if start == 0:
            return chain(first, self._batches)
        self.close()
        self._batches = self._from(start=start)
        return self._batches

    def close(self) -> None:
        """Stop harvesting."""
        self._batches.close()


def specs_of(config: Config, device: torch.device) -> dict[Key, SAESpec]:
    """Return the specification of every SAE of the grid."""
    s = config.saes
    products = fast_products(device) if s.products == "auto" else s.products
    return {
        (model, f"w{width}-s{seed}"): SAESpec(
            seed=seed + SEEDS_OF_A_MODEL * config.models.names.index(model),
            products=products,
            **s.for_spec(width),
        )
        for model, width, seed in sae_grid(config)
    }


def steps_of(config: Config) -> int:
    """Return the number of training steps that see ``saes.tokens`` tokens."""
    return -(-config.saes.tokens // config.saes.batch_size)


def summarised(name: str, sample: Tensor, spec: SAESpec) -> ActivationSummary:
    """Summarise a model's activations as a specification asks; warn on stderr where few tokens dominate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        summary = summarise(sample, spec.normalize_activations, spec.max_norm_ratio)
    if summary.caution:
        print(f"warning: {name}: {summary.caution}", file=sys.stderr, flush=True)
    return summary
