"""Sites of loaded models, whose activations come from forward passes that end at the hook."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.activations.site import Site
from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError, ModelError
from universality.models.directions import DirectPath, direct_path, read_unembedding
from universality.models.forward import loss_batches, mean_loss, run_until, similar_lengths, to_device
from universality.models.language_model import LanguageModel, weights
from universality.models.unembedding import Unembedding


class ModelSite:
    """A loaded model at a hook.

    Parameters
    ----------
    hook
        A TransformerLens name, older aliases included.

    Raises
    ------
    ModelError
        If the model has no such hook.
    """

    def __init__(self, model: LanguageModel, hook: str) -> None:
        self.model, self.hook = model, resolve_hook(model, hook)

    @property
    def name(self) -> str:
        """Name of the model in this study."""
        return self.model.name

    @property
    def model_hash(self) -> str:
        """Hash of the model's weights."""
        return self.model.hash

    @property
    def aliases(self) -> list[str]:
        """All names of the hook."""
        hooks = self.model.bridge.hook_dict
        return sorted({self.hook, *(name for name, hook in hooks.items() if hook.name == self.hook)})

    @cached_property
    def d_in(self) -> int:
        """Number of activations per token (of all heads together), measured on short texts.

        Raises
        ------
        ModelError
            If the values at the hook belong to no token, such as attention patterns.
        """
        size = self._size()
        if size is None:
            raise ModelError(
                f"hook {self.hook!r} of model {self.name!r} has shape {self._shape(3)} for 3 tokens; expected "
                f"[1, 3, d_in] or [1, 3, heads, d_head]: an SAE takes a vector of every token{self._near()}"
            )
        return size

    def _size(self) -> int | None:
        """Return the number of activations per token; None if the values belong to no token."""
        # Two lengths tell a token axis from one that merely has the same size, as in patterns [1, heads, n, n].
        short, long = (self._shape(n_tokens) for n_tokens in (2, 3))
        if short[:2] != [1, 2] or long[:2] != [1, 3] or short[2:] != long[2:] or len(short) < 3:
            return None
        return math.prod(short[2:])

    def _near(self) -> str:
        """Name similar hooks that hold a vector per token, for a message."""
        block = self.hook.split(".")[:2]
        here = [name for name in self.model.bridge.hook_dict if name.split(".")[:2] == block]
        names = difflib.get_close_matches(self.hook, here, n=10, cutoff=0.3)
        suggestions: list[str] = []
        for site in (ModelSite(self.model, name) for name in names):
            with suppress(ModelError):
                if site.hook not in suggestions and site._size() is not None:
                    suggestions.append(site.hook)
            if len(suggestions) == 3:
                break
        return f"; the nearest with one are {', '.join(suggestions)}" if suggestions else ""

    def _shape(self, n_tokens: int) -> list[int]:
        tokens = torch.zeros((1, n_tokens), dtype=torch.int64, device=self.device)
        try:
            with torch.no_grad():
                return list(run_until(self.model.bridge, tokens, self.hook)[0].shape)
        except ValueError as error:  # raised by TransformerLens for a hook that needs an option
            raise ModelError(f"hook {self.hook!r} of model {self.name!r} cannot be read: {error}") from None

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device

    @property
    def cost(self) -> int:
        """Number of parameters: an upper bound on multiply-adds per token."""
        return sum(value.numel() for value in weights(self.model.bridge).values())

    def read(self, blocks: TokenBlocks) -> Tensor:
        """Read the activations [n_tokens, d_in] of these blocks."""
        return self.read_with({self.name: self}, blocks)[self.name]

    def read_with(self, sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, Tensor]:
        """Read all sites of this model in forward passes that end at the last of their hooks.

        Full blocks take one pass; blocks of different lengths up to four, without most of the padding.
        """
        bridge = self.model.bridge
        ours = {
            name: site.hook
            for name, site in sites.items()
            if isinstance(site, ModelSite) and site.model.bridge is bridge
        }
        tokens, text = to_device(blocks, self.device)
        passes = similar_lengths(blocks.length, blocks.n_ctx)
        read: list[list[Tensor]] = []
        for part, columns in passes:
            with torch.no_grad():
                activations = run_until(bridge, tokens[part, :columns], *ours.values())
            read.append([values[text[part, :columns]].flatten(1).float() for values in activations])
        if len(passes) == 1:
            return dict(zip(ours, read[0], strict=True))
        # Tokens in order of passes → in order of blocks
        block_of = np.concatenate([np.repeat(part, blocks.length[part] - 1) for part, _ in passes])
        order = torch.from_numpy(np.argsort(block_of, kind="stable")).to(self.device)
        return {name: torch.cat(values)[order] for name, values in zip(ours, zip(*read, strict=True), strict=True)}

    @cached_property
    def path(self) -> DirectPath | None:
        """Direct path from the site into the residual stream; see `universality.models.directions.direct_path`."""
        return direct_path(self.model, self.hook)

    def residual(self, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Map decoder rows to residual directions; see `universality.models.directions.residual_directions`."""
        return None if self.path is None else self.path.apply(decoder)

    def unembedding(self, train: TokenBlocks, min_count: int) -> Unembedding:
        """Return the unembedding, with the vocabulary that counts in ``train``."""
        return read_unembedding(self.model, train, min_count)

    def spliced_loss(
        self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor], reads: Site | None = None
    ) -> float:
        """Compute the model's loss in nats with activations at the hook replaced.

        Parameters
        ----------
        replace
            Function of the activations [n_tokens, d_in] at ``reads``, or at this hook by default.
        reads
            The same model at a hook that the forward pass reaches before this one.

        Raises
        ------
        ModelError
            If the forward pass does not reach ``reads`` before this hook.
        """
        return spliced_loss(self.model, blocks, self.hook, replace, None if reads is None else reads.hook)


def resolve_hook(model: LanguageModel, hook: str) -> str:
    """Return the canonical name of a hook, which may be given by one of TransformerLens's older aliases.

    Raises
    ------
    ModelError
        If the model has no such hook; suggests the nearest names.
    """
    hooks = model.bridge.hook_dict
    if hook not in hooks:
        near = difflib.get_close_matches(hook, hooks, n=3, cutoff=0.3)
        raise ModelError(f"model {model.name!r} has no hook {hook!r}; {_nearest(near)}")
    return str(hooks[hook].name or hook)


def _nearest(names: Sequence[str]) -> str:
    if names:
        return f"the nearest are {', '.join(names)}"
    return "hooks are named as TransformerLens does, blocks.0.hook_resid_post for what leaves the first layer"


def check_positions(name: str, n_ctx: int, longest: int) -> None:
    """Refuse a model whose context is shorter than a block.

    Raises
    ------
    MismatchError
        If ``longest`` exceeds ``n_ctx``.
    """
    if longest > n_ctx:
        raise MismatchError(f"model {name!r} reads {n_ctx} positions, blocks have {longest}; lower corpus.n_ctx")


def check_models(models: Mapping[str, LanguageModel], blocks: TokenBlocks) -> None:
    """Refuse models that cannot read these blocks.

    Raises
    ------
    MismatchError
        If a vocabulary is smaller than the tokenizer's, a context is shorter than a block, or a model was trained with
        another tokenizer.
    """
    for name, model in models.items():
        if model.d_vocab < blocks.d_vocab:
            raise MismatchError(
                f"model {name!r} embeds {model.d_vocab} token types, the tokenizer makes {blocks.d_vocab}: "
                "name the tokenizer that this model was trained with as corpus.tokenizer, or, where the models have "
                "tokenizers of their own, set models.tokenizers to own"
            )
        check_positions(name, model.n_ctx, blocks.n_ctx)
        theirs = model.metadata.get("tokenizer_hash")
        if theirs and blocks.tokenizer_hash and theirs != blocks.tokenizer_hash:
            raise MismatchError(
                f"model {name!r} was trained on tokens of tokenizer {theirs[:12]}, the blocks are of "
                f"{blocks.tokenizer_hash[:12]}; set corpus.tokenizer to the one that the model was trained "
                "with, or, where models have tokenizers of their own, models.tokenizers to own"
            )


def spliced_loss(
    model: LanguageModel, blocks: TokenBlocks, hook: str, replace: Any, read_hook: str | None = None
) -> float:
    """Compute the model's loss in nats with its activations at ``hook`` replaced on text tokens only.

    Parameters
    ----------
    replace
        Function from activations [n_tokens, d_in] at ``read_hook`` to the replacement of those at ``hook``.
    read_hook
        By default ``hook``.

    Raises
    ------
    ModelError
        If the forward pass reaches ``hook`` before ``read_hook``.
    """
    # The hook sees no batch index, so it steps through the batches alongside mean_loss.
    remaining = iter(loss_batches(model.bridge, blocks))
    read: list[Tensor] = []

    def keep(activation: Tensor, hook: Any) -> None:
        read.append(activation.clone())  # later modules may write into it

    def splice(activation: Tensor, hook: Any, replace: Any) -> Tensor:
        _, text = to_device(blocks.take(next(remaining)), activation.device)
        text = text[:, : activation.shape[1]]  # mean_loss cuts padding off
        if read_hook is not None and not read:
            raise ModelError(
                f"model {model.name!r} has not computed {read_hook} yet where it computes {hook.name}: a transcoder "
                "reads a hook that comes before the one where it writes"
            )
        spliced = activation.clone()
        given, shown = read.pop() if read_hook is not None else activation, activation[text]
        spliced[text] = replace(given[text].flatten(1)).reshape(shown.shape).to(activation.dtype)
        return spliced

    reading = [] if read_hook is None else [(read_hook, keep)]
    return mean_loss(model.bridge, blocks, [*reading, (hook, partial(splice, replace=replace))])
