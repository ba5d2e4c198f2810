"""New text, read as the run read its own: the same tokens, blocks, hooks and SAEs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from universality.activations.site import rows_of
from universality.corpus.blocks import TokenBlocks, cut_blocks
from universality.corpus.common_text import common_blocks
from universality.corpus.documents import DocumentTable
from universality.errors import UniversalityError
from universality.features.recording import Tokens
from universality.serve.few_cores import cores_for
from universality.serve.live_run import LiveComparison
from universality.serve.questions import refuse_half_pair

MOST_CHARACTERS = 8_000
"""Longest text that is taken."""
MOST_TOKENS = 1_024
"""Tokens that are read of a text, rounded up to whole blocks; the rest is left out, and the answer says so."""
_DOCUMENT = DocumentTable(("text",), ("text",), ("text",), ("report",))


@dataclass(frozen=True, eq=False)
class ReadText:
    """A text and the features that fire on it.

    Attributes
    ----------
    strings
        [n_rows] text of each token, or of each segment where the models have tokenizers of their own.
    begins : list of int
        Rows at which a context begins.
    n_left_out
        Rows of the text that were not read.
    features
        float32 CSR [n_rows, n_features], one for each side.
    """

    strings: list[str]
    begins: list[int]
    n_left_out: int
    features: tuple[csr_matrix, csr_matrix]


def read_text(live: LiveComparison, text: str) -> ReadText:
    """Read a text with both models and their SAEs.

    Parameters
    ----------
    text
        Text; token ids such as ``"17 5"`` where the run's corpus is token ids without a tokenizer.

    Raises
    ------
    UniversalityError
        If the text is empty, too long, or not Unicode, or an id is no token.
    ModelError
        If a model cannot be loaded.
    """
    check_text(text)
    rows, strings = _cut(live, text)
    n_blocks = -(-MOST_TOKENS // (rows[live.sides[0].model].rows.n_ctx - 1))
    kept = {model: tokens.take(np.arange(min(n_blocks, len(tokens.rows)))) for model, tokens in rows.items()}
    first = kept[live.sides[0].model].rows
    with cores_for(_work(live, first.n_tokens)):
        activations = {model: live.run.site(model).read(tokens.blocks) for model, tokens in kept.items()}
        features = tuple(
            kept[side.model].pooled(live.run.sae(side).encode(activations[side.model])) for side in live.sides
        )
    begins = np.concatenate([[0], np.cumsum(first.length - 1)[:-1]]).tolist()
    n_left_out = rows[live.sides[0].model].rows.n_tokens - first.n_tokens
    return ReadText(strings[: first.n_tokens], begins, n_left_out, (features[0], features[1]))


def _work(live: LiveComparison, n_tokens: int) -> float:
    """Bound the multiply-adds that a text takes."""
    saes = [live.run.sae(side) for side in live.sides]
    models = {side.model for side in live.sides}
    return n_tokens * (sum(live.run.cost(model) for model in models) + sum(sae.d_in * sae.d_sae for sae in saes))


def check_text(text: str) -> None:
    """Refuse a text that cannot be read.

    Raises
    ------
    UniversalityError
        If it is empty, too long, or holds a lone surrogate.
    """
    if not text:
        raise UniversalityError("text: expected at least one character")
    if len(text) > MOST_CHARACTERS:
        raise UniversalityError(
            f"text: expected at most {MOST_CHARACTERS:,} characters, found {len(text):,}; shorten it, or run "
            "`universality run` on a file of your own"
        )
    refuse_half_pair("text", text)


def _cut(live: LiveComparison, text: str) -> tuple[dict[str, Tokens], list[str]]:
    """Cut a text into blocks; return the rows of each model, and the text of each row."""
    config, models = live.run.results.config, [side.model for side in live.sides]
    n_ctx = config.corpus.n_ctx
    if config.models.tokenizers:  # segments end where tokens of all models of the run do
        named = {name: live.run.results.tokenizer(name) for name in config.models.names}
        tokenizers = {name: tokenizer for name, tokenizer in named.items() if tokenizer is not None}
        common = common_blocks([text], _DOCUMENT, tokenizers, n_ctx=n_ctx)
        rows = {model: Tokens(common.own[model], common.blocks, config.features.pool) for model in models}
        return rows, [common.strings[token] for token in rows_of(common.blocks).token]
    blocks = _token_blocks(live, text)
    return dict.fromkeys(models, Tokens(blocks)), list(live.run.results.decode(rows_of(blocks).token.tolist()))


def _token_blocks(live: LiveComparison, text: str) -> TokenBlocks:
    corpus, tokenizer = live.run.results.config.corpus, live.run.results.tokenizer(live.sides[0].model)
    if tokenizer is None:
        d_vocab = min(live.run.site(side.model).model.d_vocab for side in live.sides)
        ids, bos_id, special, made_by = _numbers(text), corpus.bos_id, tuple(corpus.special_ids), ""
    else:
        ids, bos_id, special = tokenizer.encode([text])[0], tokenizer.bos_id, tokenizer.special_ids
        d_vocab, made_by = tokenizer.d_vocab, tokenizer.hash
    return cut_blocks(
        [ids], _DOCUMENT, n_ctx=corpus.n_ctx, bos_id=bos_id, d_vocab=d_vocab, tokenizer_hash=made_by,
        special_ids=special,
    )  # fmt: skip


def _numbers(text: str) -> list[int]:
    words = text.split()
    if not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        raise UniversalityError("text: this run's corpus is token ids without a tokenizer; expected ids as in '17 5'")
    return [int(word) for word in words]
