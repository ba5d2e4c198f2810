"""The answer to a typed text: which features of both models fire on it, and which pairs agree there."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from universality.arrays import IntArray
from universality.features.token_pooling import pool_rows
from universality.report.explorer import Words
from universality.serve.live_run import LiveComparison, LiveSide
from universality.serve.live_text import MOST_TOKENS, ReadText, read_text
from universality.serve.near_features import SHOWN
from universality.visible_tokens import pieces

AGREES = 0.5
"""Least share of the tokens on which either feature of a pair fires, and both do, for the pair to agree on a text."""
Json = dict[str, Any]


def text_answer(live: LiveComparison, text: str) -> Json:
    """Return what the page shows of a text, ready for JSON.

    Parameters
    ----------
    text
        As `universality.serve.live_text.read_text`, which also says what is raised.

    Returns
    -------
    dict
        ``words``: texts that the rest refers to by place. ``pieces``: places of the text's pieces, which are tokens, or
        several tokens that share a character. ``begins``: pieces at which a context begins. ``n_tokens``,
        ``n_left_out``, ``most_tokens``. ``sides``: for each model the ``features`` that fire, and in their order
        ``tokens`` and ``label`` that describe them, ``pair`` (-1 without one), ``largest`` on held-out text, ``n``
        tokens on which each fires, and ``where`` (pieces) with ``share`` (activations in percent of ``largest``).
        ``pairs``: those of which a feature fires, with the numbers of `LiveComparison.pairs`, tokens on which ``both``
        fire and ``only`` one does, and whether they ``agree``.
    """
    read = read_text(live, text)
    words = live.run.words()
    shown = pieces(read.strings)
    starts = np.asarray([piece.tokens.start for piece in shown])
    sides = [_side(side, x, starts, words) for side, x in zip(live.sides, read.features, strict=True)]
    return {
        "pieces": [words.text(piece.text) for piece in shown],
        "begins": (np.searchsorted(starts, read.begins, side="right") - 1).tolist(),
        "n_tokens": len(read.strings),
        "n_left_out": read.n_left_out,
        "most_tokens": MOST_TOKENS,
        "agrees": AGREES,
        "sides": sides,
        "pairs": _pairs(live, read),
        "words": words.texts,
    }


def _side(side: LiveSide, firings: csr_matrix, starts: IntArray, words: Words) -> Json:
    """Describe the features that fire; ``starts`` [n_pieces] are the first rows of the pieces."""
    n_tokens = np.diff(csc_matrix(_fires(firings)).indptr)
    by_piece = csc_matrix(pool_rows(firings, starts))
    by_piece.eliminate_zeros()
    active = np.flatnonzero(n_tokens)
    ranges = list(zip(by_piece.indptr[active].tolist(), by_piece.indptr[active + 1].tolist(), strict=True))
    of_entry = np.repeat(np.arange(side.n_features), np.diff(by_piece.indptr))
    # a feature that never fired on held-out text is shown relative to its largest here
    here = by_piece.max(axis=0).toarray().ravel()
    largest = np.where(side.maxima > 0, side.maxima, np.maximum(here, np.finfo(np.float32).tiny))
    shares = np.maximum(1, np.rint(100 * by_piece.data / largest[of_entry])).astype(int).tolist()
    pieces_of = by_piece.indices.tolist()
    return {
        "features": active.tolist(),
        "tokens": [
            [words.token(token) for token in row if token >= 0]
            for row in side.described.tokens[active, :SHOWN].tolist()
        ],
        "label": [side.label(feature) for feature in active.tolist()],
        "pair": side.pair_of[active].tolist(),
        "largest": np.round(side.maxima[active].astype(float), 4).tolist(),
        "n": n_tokens[active].tolist(),
        "where": [pieces_of[start:stop] for start, stop in ranges],
        "share": [shares[start:stop] for start, stop in ranges],
    }


def _pairs(live: LiveComparison, read: ReadText) -> list[Json]:
    match = live.compared.calibration.match
    fires = [_fires(x) for x in read.features]
    active = [side.pair_of[np.unique(x.indices)] for side, x in zip(live.sides, fires, strict=True)]
    pairs = np.unique(np.concatenate(active))
    pairs = pairs[pairs >= 0]
    a, b = fires[0][:, match.rows[pairs]], fires[1][:, match.cols[pairs]]
    both = np.asarray(a.multiply(b).sum(axis=0)).ravel().astype(int)
    n_a, n_b = (np.asarray(x.sum(axis=0)).ravel().astype(int) for x in (a, b))
    return [
        pair | {"both": n, "only": [x - n, y - n], "agree": n >= AGREES * (x + y - n)}
        for pair, n, x, y in zip(live.pairs(pairs), both.tolist(), n_a.tolist(), n_b.tolist(), strict=True)
    ]


def _fires(values: csr_matrix) -> csr_matrix:
    """Return 1 wherever a feature fires."""
    fires = csr_matrix((values.data != 0, values.indices, values.indptr), shape=values.shape).astype(np.int32)
    fires.eliminate_zeros()
    return fires
