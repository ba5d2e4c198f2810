"""Activations of several models over one token stream, at one hook.

Nothing here holds the activations of a corpus: ``harvest`` yields those of a few blocks in order, and
``shuffled_batches`` fills a bounded buffer from blocks of many documents and deals it out in random order.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError, ModelError
from universality.models.forward import mean_loss, run_until, to_device
from universality.models.language_model import LanguageModel


@dataclass(frozen=True)
class Rows:
    """The tokens that a batch of activations belongs to: arrays [n_tokens], BOS and padding left out."""

    token: NDArray[np.int32]
    document: NDArray[np.int32]
    position: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.token)


def rows_of(blocks: TokenBlocks) -> Rows:
    """The tokens of text of these blocks, block after block."""
    block, position = np.nonzero(blocks.valid)
    return Rows(blocks.tokens[block, position], blocks.document[block], position.astype(np.int32))


def resolve_hook(model: LanguageModel, hook: str) -> str:
    """The canonical name of ``hook``, which may be one of TransformerLens's older aliases.

    Raises
    ------
    ModelError
        If the model has no such hook; the nearest names are given.
    """
    known = model.bridge.hook_dict
    if hook not in known:
        near = difflib.get_close_matches(hook, known, n=3, cutoff=0.3)
        raise ModelError(f"model {model.name!r} has no hook {hook!r}; the nearest are {', '.join(near) or 'none'}")
    return str(known[hook].name or hook)


def width_at(model: LanguageModel, hook: str) -> int:
    """Number of activations at a hook (d_in), found by running one token."""
    tokens = torch.zeros((1, 2), dtype=torch.int64, device=model.device)
    with torch.no_grad():
        return int(run_until(model.bridge, tokens, hook).shape[-1])


def check_models(models: Mapping[str, LanguageModel], blocks: TokenBlocks) -> None:
    """Refuse models that cannot read these blocks.

    Raises
    ------
    MismatchError
        If a vocabulary is smaller than the tokenizer's, or a context shorter than a block.
    """
    for name, model in models.items():
        if model.d_vocab < blocks.d_vocab:
            raise MismatchError(
                f"model {name!r} embeds {model.d_vocab} token types, the tokenizer makes {blocks.d_vocab}: "
                "all models of a study must read the same tokens; give the tokenizer that this model was trained with"
            )
        if model.n_ctx < blocks.n_ctx:
            raise MismatchError(
                f"model {name!r} reads {model.n_ctx} positions, blocks have {blocks.n_ctx}; lower corpus.n_ctx"
            )
        theirs = model.metadata.get("tokenizer_hash")
        if theirs and blocks.tokenizer_hash and theirs != blocks.tokenizer_hash:
            raise MismatchError(
                f"model {name!r} was trained on tokens of tokenizer {theirs[:12]}, the blocks are of "
                f"{blocks.tokenizer_hash[:12]}; set corpus.tokenizer to the one that the model was trained with"
            )


def harvest(
    models: Mapping[str, LanguageModel], blocks: TokenBlocks, hook: str, batch_blocks: int = 64
) -> Iterator[tuple[Rows, dict[str, Tensor]]]:
    """Activations of every model on the same tokens, in the order of the blocks.

    Yields
    ------
    Rows
        Which tokens.
    dict of Tensor [n_tokens, d_in]
        One float32 array a model, on the model's device.
    """
    for start in range(0, len(blocks), batch_blocks):
        part = blocks.take(np.arange(start, min(start + batch_blocks, len(blocks))))
        yield rows_of(part), {name: _activations(model, part, hook) for name, model in models.items()}


def _activations(model: LanguageModel, blocks: TokenBlocks, hook: str) -> Tensor:
    tokens, text = to_device(blocks, model.device)
    with torch.no_grad():
        return run_until(model.bridge, tokens, hook)[text].float()


def shuffled_batches(
    models: Mapping[str, LanguageModel],
    blocks: TokenBlocks,
    hook: str,
    *,
    batch_size: int,
    seed: int,
    buffer_tokens: int = 131_072,
    start: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Endless batches of activations for SAE training; the same tokens for all models.

    Blocks are drawn in an order shuffled anew each epoch; about ``buffer_tokens`` activations are harvested from
    them and dealt out in random order, and what is left of a buffer below one batch is dropped. Everything follows
    from ``seed``, so ``start`` goes on where an interrupted run stopped, to the byte.

    Parameters
    ----------
    batch_size
        Tokens a batch.
    start
        Batches to skip without harvesting the buffers before.

    Yields
    ------
    dict of Tensor [batch_size, d_in]
    """
    skip = start
    for fill, part in enumerate(_buffers(blocks, max(buffer_tokens, batch_size), seed)):
        n_batches = part.n_tokens // batch_size
        if skip >= n_batches:
            skip -= n_batches
            continue
        buffer = {name: _fill(model, part, hook) for name, model in models.items()}
        order = torch.from_numpy(np.random.default_rng([seed, 1, fill]).permutation(part.n_tokens))
        for batch in range(skip, n_batches):
            picked = order[batch * batch_size : (batch + 1) * batch_size]
            yield {name: rows[picked.to(rows.device)] for name, rows in buffer.items()}
        skip = 0


def _fill(model: LanguageModel, blocks: TokenBlocks, hook: str) -> Tensor:
    """All activations of these blocks, in one array that is allocated once."""
    buffer = torch.empty((blocks.n_tokens, width_at(model, hook)), device=model.device)
    at = 0
    for rows, acts in harvest({model.name: model}, blocks, hook):
        buffer[at : at + len(rows)] = acts[model.name]
        at += len(rows)
    return buffer


def _buffers(blocks: TokenBlocks, buffer_tokens: int, seed: int) -> Iterator[TokenBlocks]:
    """Consecutive stretches of the shuffled blocks, across epochs, each of at least ``buffer_tokens`` tokens."""
    pending: list[NDArray[np.int64]] = []
    held, epoch = 0, 0
    while True:
        order = np.random.default_rng([seed, 0, epoch]).permutation(len(blocks))
        counts = np.cumsum(blocks.length[order] - 1)
        begin, before = 0, 0
        while (end := int(np.searchsorted(counts, before + buffer_tokens - held)) + 1) <= len(order):
            yield blocks.take(np.concatenate([*pending, order[begin:end]]))
            begin, before, pending, held = end, int(counts[end - 1]), [], 0
        pending.append(order[begin:])
        held += int(counts[-1]) - before
        epoch += 1


def spliced_loss(model: LanguageModel, blocks: TokenBlocks, hook: str, replace: Any) -> float:
    """The model's loss in nats with its activations at ``hook`` replaced, BOS and padding left as they are.

    Parameters
    ----------
    replace
        Callable from activations [n_tokens, d_in] to their replacement.
    """
    remaining = iter(range(0, len(blocks), 32))

    def splice(activation: Tensor, hook: Any, replace: Any) -> Tensor:
        start = next(remaining)
        _, text = to_device(blocks.take(np.arange(start, min(start + 32, len(blocks)))), activation.device)
        spliced = activation.clone()
        spliced[text] = replace(activation[text]).to(activation.dtype)
        return spliced

    return mean_loss(model.bridge, blocks, [(hook, partial(splice, replace=replace))], batch_blocks=32)
