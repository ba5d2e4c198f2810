"""What a site's directions write to the residual stream, and the unembedding that reads it.

The convention is stated with `universality.models.unembedding.Unembedding` and stored with it.
"""

import re

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from universality.corpus.blocks import TokenBlocks
from universality.hooks import in_residual_stream
from universality.models.language_model import LanguageModel
from universality.models.unembedding import Unembedding, vocabulary_mask

_ATTN_Z = re.compile(r"^blocks\.(\d+)\.attn\.(o\.hook_in|hook_z)$")
_MLP_POST = re.compile(r"^blocks\.(\d+)\.mlp\.(out\.hook_in|hook_post)$")


def read_unembedding(model: LanguageModel, train: TokenBlocks, min_count: int) -> Unembedding:
    """The model's W_U and final gain, with the vocabulary that counts.

    Parameters
    ----------
    train
        Blocks of the training split; a token type that occurs fewer than ``min_count`` times there is masked,
        as are columns of W_U beyond the tokenizer (padding). Models that read the same blocks get one mask.
    """
    W_U = _array(model.bridge.W_U)
    normalization = str(model.bridge.cfg.normalization_type or "").upper()
    final = getattr(model.bridge, "ln_final", None)
    gain = getattr(final, "w", None) if final is not None else None
    return Unembedding(
        W_U=W_U,
        gain=np.ones(len(W_U), np.float32) if gain is None else _array(gain),
        mask=vocabulary_mask(train, W_U.shape[1], min_count),
        center_d_model=normalization.startswith("LN"),
    )


def residual_directions(model: LanguageModel, hook: str, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """What decoder rows [n, d_in] write into the residual stream: [n, d_model], raw.

    Parameters
    ----------
    model
        The model at whose hook the decoder writes.
    hook
        The site's canonical name, as ``ModelSite.hook`` has it.
    decoder
        float32 [n, d_in].

    Returns
    -------
    array or None
        ``decoder @ W_out`` at an MLP's post-activation, ``decoder @ W_O`` at what attention's heads read (heads one
        behind the other), ``decoder`` itself where the site is added to the residual
        stream or is the stream; None at other sites, which have no direct path to the logits.
    """
    if found := _MLP_POST.match(hook):
        return decoder @ _array(model.bridge.blocks[int(found[1])].mlp.W_out)
    if found := _ATTN_Z.match(hook):
        return decoder @ _array(model.bridge.blocks[int(found[1])].attn.W_O).reshape(decoder.shape[1], -1)
    return decoder if in_residual_stream(hook) else None


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
