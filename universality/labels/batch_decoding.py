"""Answers of a causal language model to several prompts at a time, token by token.

Prompts are padded on the left to one length. A row leaves the batch as soon as its answer is complete, so that short
answers do not wait for long ones. Tokens are drawn by the Gumbel-max trick, with noise that depends on the seed of the
row alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from universality.extras import naming_extra

with naming_extra("a language model"):
    import torch
    from torch import Tensor
    from transformers.cache_utils import Cache, DynamicCache

from universality.labels.attention_cache import Prefix, is_attention_only


@dataclass(frozen=True)
class PromptTokens:
    """Tokens of a prompt, and what decides the length and the draws of its answer.

    Parameters
    ----------
    tokens
        Tokens of the prompt, at least one more than those of a prefix.
    max_tokens
        Most tokens of the answer.
    seed
        Seed of the draws; not used at temperature 0.
    """

    tokens: Sequence[int]
    max_tokens: int
    seed: int = 0


class BatchDecoder:
    """Writes answers with a causal language model of ``transformers``.

    Parameters
    ----------
    model
        The model, in evaluation mode.
    ends
        Function from the tokens of an answer so far to whether the last of them ends it.
    padding
        Any token of the vocabulary.
    temperature
        0 takes the most probable token; otherwise logits are divided by it before a token is drawn.
    """

    def __init__(self, model: Any, ends: Callable[[list[int]], bool], padding: int, temperature: float) -> None:
        self._model, self._ends, self._padding, self._temperature = model, ends, padding, temperature
        accepted = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in accepted
        # else logits of every token of every prompt are computed: 3 GB for 16,384 tokens of SmolLM2
        self._options = {"use_cache": True} | ({"logits_to_keep": 1} if "logits_to_keep" in accepted else {})

    @torch.inference_mode()
    def decode(self, prompts: Sequence[PromptTokens], prefix: Prefix) -> list[list[int]]:
        """Return the tokens of each answer, with the one that ends it if it is there.

        Parameters
        ----------
        prompts
            At least one.
        prefix
            Keys and values of the tokens with which all the prompts begin.
        """
        n_columns = max(len(one.tokens) for one in prompts)
        padding = [n_columns - len(one.tokens) for one in prompts]
        n_reserved = n_columns + max(one.max_tokens for one in prompts)
        cache = self._cache(prefix, padding, n_reserved)
        mask = self._tensor([[0] * n + [1] * (n_reserved - n) for n in padding])
        tokens = self._tensor([[self._padding] * n + [*one.tokens] for n, one in zip(padding, prompts, strict=True)])
        inputs = tokens[:, prefix.n_tokens :]
        rows = answers = [_Answer(one, self._temperature) for one in prompts]
        while True:
            for row, logits in zip(rows, self._logits(inputs, mask[:, :n_columns], cache), strict=True):
                row.add(logits)
            going_on = [place for place, row in enumerate(rows) if not row.is_complete(self._ends)]
            if not going_on:
                return [answer.tokens for answer in answers]
            if len(going_on) < len(rows):
                rows, kept = [rows[place] for place in going_on], self._tensor(going_on)
                mask = mask[kept]
                cache.reorder_cache(kept)  # any choice of rows, for recurrent layers too
            inputs = self._tensor([[row.tokens[-1]] for row in rows])
            n_columns += 1

    def _cache(self, prefix: Prefix, padding: Sequence[int], n_reserved: int) -> Cache:
        if is_attention_only(self._model):
            return prefix.cache(padding, n_reserved)
        return DynamicCache(config=self._model.config)

    def _logits(self, inputs: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        """Return the logits [n_rows, d_vocab] of the next token; ``mask`` covers cache and inputs."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
        options = self._options | ({"position_ids": positions} if self._takes_positions else {})
        output = self._model(input_ids=inputs, attention_mask=mask, past_key_values=cache, **options)
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _tensor(self, values: Sequence[Any]) -> Any:  # Tensor: transformers asks for a LongTensor by name
        return torch.tensor(values, device=self._model.device)


class _Answer:
    """An answer that is being written."""

    def __init__(self, prompt: PromptTokens, temperature: float) -> None:
        self.tokens: list[int] = []
        self._max_tokens, self._temperature = prompt.max_tokens, temperature
        self._generator = torch.Generator().manual_seed(prompt.seed)

    def add(self, logits: Tensor) -> None:
        """Append the next token, given its logits [d_vocab]."""
        if self._temperature:
            logits = with_noise(logits, self._temperature, self._generator)
        self.tokens.append(int(logits.argmax()))

    def is_complete(self, ends: Callable[[list[int]], bool]) -> bool:
        return ends(self.tokens) or len(self.tokens) == self._max_tokens


def with_noise(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Add Gumbel noise to logits, so that the largest is a draw: Maddison, Tarlow & Minka 2014."""
    uniform = torch.rand(logits.shape, generator=generator)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
    return logits / temperature + gumbel.to(logits.device)
