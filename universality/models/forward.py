"""Forward passes: up to the last of some hooks, or to the loss with functions applied at hooks."""

from collections.abc import Callable, Sequence
from functools import partial
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformer_lens.model_bridge import TransformerBridge

from universality.corpus.blocks import TokenBlocks
from universality.errors import ModelError

Hook = tuple[str, Callable[..., Tensor | None]]
LOGITS_BYTES = 2**28
"""Memory for the logits of one batch; softmax needs about three times as much."""
CPU_LOGITS_BYTES = 2**24
"""The same where each token's loss is computed on a CPU: page faults of larger arrays cost a quarter of the time."""
FILLED = 0.8
"""Share of a batch's columns that hold text from which on padding is computed along: full blocks take one pass."""
_PASSES = 4  # most passes into which a batch with more padding is divided


_LOCKS: WeakKeyDictionary[TransformerBridge, RLock] = WeakKeyDictionary()
_NEW_LOCK = RLock()


def _turn(bridge: TransformerBridge) -> RLock:
    """Return the lock to hold during a pass with hooks, which are attached to the model while the pass runs.

    Two threads that share a model would otherwise read each other's hooks.
    """
    with _NEW_LOCK:
        return _LOCKS.setdefault(bridge, RLock())


def hooked_pass(
    bridge: TransformerBridge, tokens: Tensor, hooks: Sequence[Hook], return_type: str | None = "logits"
) -> Any:
    """Run one pass with functions at hooks, while no other thread runs one on this model.

    Parameters
    ----------
    tokens : int64 [n_blocks, n_ctx]
    hooks
        ``(name, function)`` pairs in TransformerLens's form.
    return_type
        "logits", which returns a Tensor [n_blocks, n_ctx, d_vocab], or None for no result.
    """
    with _turn(bridge):
        return bridge.run_with_hooks(tokens, fwd_hooks=list(hooks), return_type=return_type)


class _Reached(Exception):  # noqa: N818 - ends a forward pass; not an error
    pass


def run_until(bridge: TransformerBridge, tokens: Tensor, *hooks: str) -> list[Tensor]:
    """Return the activations at hooks from one pass that ends at the last of them.

    Gradients flow back from each hook. ``stop_at_layer`` does not end the pass of a native bridge, so the last hook
    raises an exception that ends it.

    Parameters
    ----------
    tokens : int64 [n_blocks, n_ctx]
    hooks
        In any order.

    Returns
    -------
    list of Tensor [n_blocks, n_ctx, d_in]
        One per hook, in the given order.

    Raises
    ------
    ModelError
        If the pass ends without reaching a hook.
    """
    wanted = dict.fromkeys(hooks)  # unique, in order
    reached: dict[str, Tensor] = {}

    def keep(activation: Tensor, hook: Any, name: str) -> None:
        last = len(reached) == len(wanted) - 1
        reached.setdefault(name, activation if last else activation.clone())  # later modules may write into it
        if len(reached) == len(wanted):
            raise _Reached

    try:
        hooked_pass(bridge, tokens, [(hook, partial(keep, name=hook)) for hook in wanted], return_type=None)
    except _Reached:
        return [reached[hook] for hook in hooks]
    missed = next(hook for hook in hooks if hook not in reached)
    raise ModelError(f"the forward pass never reached hook {missed!r}; expected a hook that the model runs")


def to_device(batch: TokenBlocks, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return token ids (int64) and the mask of text tokens, both [n_blocks, n_ctx]."""
    return torch.from_numpy(batch.tokens.astype(np.int64)).to(device), torch.from_numpy(batch.valid).to(device)


def similar_lengths(length: NDArray[np.integer[Any]], n_ctx: int) -> list[tuple[NDArray[np.int64], int]]:
    """Divide a batch of blocks into passes of similar lengths, so that little padding is computed.

    Short documents, and models of different tokenizers, leave most columns of a batch empty. In a causal model the
    columns behind a block's text change nothing before them and can be cut off.

    Parameters
    ----------
    length : int [n_blocks]
        Columns in use.
    n_ctx
        Columns of a block.

    Returns
    -------
    list of (int64 [n], int)
        Blocks of each pass, and its columns. A batch that is full up to ``FILLED`` is one pass of all columns.

    Examples
    --------
    >>> [(blocks.tolist(), columns) for blocks, columns in similar_lengths(np.array([9, 30, 10, 128]), 128)]
    [([0, 2], 10), ([1], 30), ([3], 128)]
    """
    if length.sum() >= FILLED * len(length) * n_ctx:
        return [(np.arange(len(length)), n_ctx)]
    groups = [np.argsort(length, kind="stable")]
    while len(groups) < _PASSES:
        # Columns saved by ending a group after each of its blocks but the last: those are padded to the next.
        saved = [np.arange(1, len(group)) * (length[group[-1]] - length[group[:-1]]) for group in groups]
        at = max(range(len(groups)), key=lambda i: saved[i].max(initial=0))
        if saved[at].max(initial=0) <= (1 - FILLED) / _PASSES * length.sum():  # a pass of its own costs time too
            break
        cut = int(saved[at].argmax()) + 1
        groups[at : at + 1] = [groups[at][:cut], groups[at][cut:]]
    return [(np.sort(group), int(length[group].max())) for group in groups]


def logits_bytes(device: torch.device) -> int:
    """Return the memory for the logits of a batch where each token's loss or gradient is computed."""
    return CPU_LOGITS_BYTES if device.type == "cpu" else LOGITS_BYTES


def loss_batches(bridge: TransformerBridge, blocks: TokenBlocks, n_bytes: int | None = None) -> list[NDArray[np.int64]]:
    """Divide blocks into batches with at most ``n_bytes`` (``LOGITS_BYTES``) of logits and at most 32 blocks."""
    step = min(32, max(1, (n_bytes or LOGITS_BYTES) // (4 * blocks.n_ctx * int(bridge.cfg.d_vocab))))
    return [np.arange(start, min(start + step, len(blocks))) for start in range(0, len(blocks), step)]


def token_losses(
    bridge: TransformerBridge,
    blocks: TokenBlocks,
    hooks: Callable[[NDArray[np.int64], int], Sequence[Hook]] = lambda batch, columns: (),
) -> NDArray[np.float32]:
    """Compute the loss of every text token given those before it.

    Parameters
    ----------
    bridge, blocks
        Model and the token blocks that it reads, in batches of `loss_batches`.
    hooks
        From the indices of a batch's blocks and the number of columns that are read, ``(name, function)`` pairs in
        TransformerLens's form, which may replace activations.

    Returns
    -------
    float32 [n_tokens]
        In nats, in the order of ``blocks.valid``.
    """
    device = next(bridge.parameters()).device
    losses = np.zeros((len(blocks), blocks.n_ctx), np.float32)
    with torch.no_grad():
        for batch in loss_batches(bridge, blocks, logits_bytes(device)):
            tokens, text = to_device(blocks.take(batch), device)
            columns = max(columns for _, columns in similar_lengths(blocks.length[batch], blocks.n_ctx))
            tokens, text = tokens[:, :columns], text[:, :columns]
            logits = hooked_pass(bridge, tokens, hooks(batch, columns))
            follows = text[:, 1:]
            of_text = cross_entropy(logits[:, :-1][follows].float(), tokens[:, 1:][follows], reduction="none")
            losses[batch[:, None], np.arange(columns)] = _placed(of_text, text).cpu().numpy()
    return losses[blocks.valid]


def _placed(values: Tensor, text: Tensor) -> Tensor:
    """Put the values of text tokens [n_tokens] in their places, [n_blocks, n_ctx]."""
    placed = values.new_zeros(text.shape)
    placed[text] = values
    return placed


def mean_loss(bridge: TransformerBridge, blocks: TokenBlocks, hooks: Sequence[Hook] = ()) -> float:
    """Compute the mean next-token loss in nats over text tokens, including the first one after BOS.

    Parameters
    ----------
    bridge, blocks
        Model and the token blocks that it reads, in batches of `loss_batches`.
    hooks
        ``(name, function)`` pairs in TransformerLens's form, which may replace activations.
    """
    device = next(bridge.parameters()).device
    total = 0.0
    with torch.no_grad():
        for batch in loss_batches(bridge, blocks):
            tokens, text = to_device(blocks.take(batch), device)
            columns = max(columns for _, columns in similar_lengths(blocks.length[batch], blocks.n_ctx))
            tokens, text = tokens[:, :columns], text[:, :columns]
            logits = hooked_pass(bridge, tokens, hooks)
            follows = text[:, 1:]
            total += cross_entropy(logits[:, :-1][follows].float(), tokens[:, 1:][follows], reduction="sum").item()
    return total / blocks.n_tokens
