"""Keys and values of prompts that are answered together.

Many prompts begin alike, with the same instructions and worked examples. Keys and values of such a prefix are computed
once and copied into the cache of each batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from universality.extras import naming_extra

with naming_extra("a language model"):
    import torch
    from torch import Tensor
    from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

_ATTENTION = {"full_attention", "sliding_attention"}


class ReservedLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer in memory that is reserved at once.

    `DynamicLayer` copies all of them for every token, which took 37% of the time of a token (SmolLM2-135M, 16 prompts
    of 500 tokens, one core).

    Parameters
    ----------
    n_reserved
        Most tokens that a row will have.
    """

    def __init__(self, n_reserved: int) -> None:
        super().__init__()
        self._n_reserved, self._n = n_reserved, 0
        self.keys: Tensor
        self.values: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.keys, self.values = self._reserved(key_states), self._reserved(value_states)

    def _reserved(self, states: Tensor) -> Tensor:
        n_rows, n_heads, _, d_head = states.shape
        return states.new_zeros(n_rows, n_heads, self._n_reserved, d_head)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append states [n_rows, n_heads, n_tokens, d_head]; return all states so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self._n = self._n, self._n + key_states.shape[-2]
        self.keys[:, :, start : self._n] = key_states
        self.values[:, :, start : self._n] = value_states
        return self.keys[:, :, : self._n], self.values[:, :, : self._n]

    def get_seq_length(self) -> int:
        """Return the number of tokens so far."""
        return self._n


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of tokens with which prompts begin.

    Parameters
    ----------
    n_tokens
        Number of the tokens; 0 for nothing that is shared.
    layers
        Keys and values [1, n_heads, n_tokens, d_head] of each layer.
    """

    n_tokens: int = 0
    layers: tuple[tuple[Tensor, Tensor], ...] = ()

    def cache(self, padding: Sequence[int], n_reserved: int) -> Cache:
        """Return the cache of a batch that is padded on the left, as it is after the first ``n_tokens`` columns.

        Parameters
        ----------
        padding
            Number of padding tokens before each row. A row that begins ``p`` columns later holds ``p`` tokens fewer of
            the prefix; the model reads these again with the rest of the prompt.
        n_reserved
            Most tokens that a row will have, padding and answer included.
        """
        reserved: Any = partial(ReservedLayer, n_reserved)  # called for each layer, as a class would be
        cache = Cache(layer_class_to_replicate=reserved)
        for place, (keys, values) in enumerate(self.layers):
            cache.update(_after_padding(keys, padding), _after_padding(values, padding), place)
        return cache


def _after_padding(states: Tensor, padding: Sequence[int]) -> Tensor:
    """Repeat states [1, n_heads, n_tokens, d_head] for each row, moved to the right by its padding."""
    _, n_heads, n_tokens, d_head = states.shape
    rows = states.new_zeros(len(padding), n_heads, n_tokens, d_head)
    for row, n in enumerate(padding):
        rows[row, :, min(n, n_tokens) :] = states[0, :, : max(n_tokens - n, 0)]
    return rows


def is_attention_only(model: Any) -> bool:
    """Say whether a prompt's state is its keys and values, as in no model with recurrent layers."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or _ATTENTION)
    return kinds <= _ATTENTION and not getattr(model, "_is_stateful", False)


@torch.inference_mode()
def compute_prefix(model: Any, tokens: Sequence[int]) -> Prefix:
    """Compute the keys and values of tokens with which prompts begin; the model must be `is_attention_only`."""
    if not tokens:
        return Prefix()
    # without the configuration, layers of local attention keep all tokens too, and the mask limits what they see
    cache = DynamicCache()
    inputs = torch.tensor([list(tokens)], device=model.device)
    model.base_model(input_ids=inputs, past_key_values=cache, use_cache=True)
    layers: list[Any] = cache.layers
    return Prefix(len(tokens), tuple((layer.keys, layer.values) for layer in layers))
