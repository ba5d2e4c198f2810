"""Tokens and dictionary of a store: what it holds besides activations. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from universality.errors import FormatError, MismatchError
from universality.models.unembedding import Unembedding


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The rows of a store: one token of text each, never BOS or padding.

    Parameters
    ----------
    token
        int32 [n_tokens], id in the tokenizer's vocabulary.
    document
        int32 [n_tokens], row in the store's document table.
    position
        int32 [n_tokens], column of the token in its block; where it does not follow its predecessor's, a new block
        starts.
    kind
        int16 [n_tokens], codes into ``kinds``.
    kinds
        Names of the kinds, in the order of their first appearance.
    """

    token: NDArray[np.int32]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    kind: NDArray[np.int16]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.token)

    @cached_property
    def block(self) -> NDArray[np.int64]:
        """int64 [n_tokens], number of the block that each token belongs to, rising from 0.

        A row continues its predecessor's block when it is the next position of the same document.
        """
        starts = np.ones(len(self), np.int64)
        starts[1:] = (self.document[1:] != self.document[:-1]) | (self.position[1:] != self.position[:-1] + 1)
        return np.cumsum(starts) - 1

    @property
    def kind_names(self) -> NDArray[np.str_]:
        """str [n_tokens], the name of each token's kind."""
        return np.asarray(self.kinds, dtype=np.str_)[self.kind]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The weights behind a store's features, one row a feature; arrays become float32.

    Parameters
    ----------
    decoder
        [n_features, d_out], direction that a feature writes at its site, or where a transcoder writes.
    encoder
        [n_features, d_in], direction that it reads at its site; None when unknown. d_in is d_out except in transcoders.
    bias
        [n_features], encoder bias; None when unknown.
    residual
        [n_features, d_model], direction that a feature writes into the residual stream, neither centred nor scaled:
        W_dec W_out at an MLP site, W_dec at the residual stream; None when unknown.

    Raises
    ------
    MismatchError
        When the arrays do not agree on n_features.
    FormatError
        When a value is not finite in float32.
    """

    decoder: NDArray[np.float32]
    encoder: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    residual: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name, ndim in (("decoder", 2), ("encoder", 2), ("bias", 1), ("residual", 2)):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, _weights(name, given, ndim))
        for name, array in (("encoder", self.encoder), ("bias", self.bias), ("residual", self.residual)):
            if array is not None and len(array) != len(self):
                raise MismatchError(f"dictionary: {name} needs {len(self)} rows as the decoder has, found {len(array)}")

    def __len__(self) -> int:
        return len(self.decoder)


def check_weights(
    store: str,
    n_features: int,
    dictionary: Dictionary | None,
    unembedding: Unembedding | None,
    two_sites: bool = False,
) -> None:
    """Check that a dictionary has the store's width, and an unembedding the dictionary's d_model.

    Encoder and decoder have one width, unless features are read and written at ``two_sites``.

    Raises
    ------
    MismatchError
        Naming ``store``.
    """
    if dictionary is not None and len(dictionary) != n_features:
        raise MismatchError(f"{store}: the store has {n_features} features, the dictionary {len(dictionary)} rows")
    check_one_width(store, dictionary, two_sites)
    if dictionary is None or dictionary.residual is None or unembedding is None:
        return
    if dictionary.residual.shape[1] != unembedding.d_model:
        raise MismatchError(
            f"{store}: the unembedding reads d_model {unembedding.d_model}, "
            f"but the dictionary's residual has {dictionary.residual.shape[1]}; they are of different models"
        )


def check_one_width(store: str, dictionary: Dictionary | None, two_sites: bool) -> None:
    """Check that encoder and decoder are of one width, where features are read and written at one site.

    Raises
    ------
    MismatchError
        Naming ``store``.
    """
    if dictionary is None or dictionary.encoder is None or two_sites:
        return
    shape = list(dictionary.decoder.shape)
    if list(dictionary.encoder.shape) != shape:
        raise MismatchError(
            f"{store}: dictionary: encoder must be {shape} as the decoder is, found {list(dictionary.encoder.shape)}; "
            "the provenance of a transcoder's features names site_out"
        )


def _weights(name: str, given: ArrayLike, ndim: int) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused below
        array = np.ascontiguousarray(given, dtype=np.float32)
    if array.ndim != ndim:
        raise MismatchError(f"dictionary: {name} must have {ndim} axes, found shape {list(array.shape)}")
    if not np.isfinite(array).all():
        raise FormatError(f"dictionary: {name} holds values that are not finite in float32")
    return array
