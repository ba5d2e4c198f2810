"""The stage ``corpus``: token blocks, the tokenizer, and the losses of models that only count."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.config import Config, CorpusConfig
from universality.errors import CorpusError
from universality.files import write_json
from universality.pipeline.input_hashes import hashes_by_place
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import check_architectures
from universality.pipeline.stages.text_sources import (
    local_paths,
    pinned_sources,
    recorded_commits,
    tokenizer_sources,
)
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from universality.corpus import TokenBlocks
    from universality.sae.training.distributed import Ranks

STAGE, VERSION = "corpus", 2
_LATER = ("max_tokens", "columns", "cut", "separator", "heading")
_UNSET = object()
_LEAST_UNITS = 3  # documents or works of a kind: one for each split (universality.corpus.splits)


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return the one task of this stage; it depends on the text, the tokenizers and their settings."""
    # Settings that came later count only where they are set, so that finished runs are recognised.
    defaults = {name: CorpusConfig.model_fields[name].get_default() for name in _LATER}
    text = {key: value for key, value in config.corpus.model_dump().items() if defaults.get(key, _UNSET) != value}
    settings: list[Any] = [text, corpus_inputs(config, folder)]
    if config.models.tokenizers:
        settings.append(config.models.names)
    return [Task(STAGE, settings, (), partial(make_corpus, config, folder), VERSION)]


def corpus_inputs(config: Config, folder: RunFolder | None = None) -> list[list[Any]]:
    """Hash the files that the text and the tokenizers come from, as `hashes_by_place` lists them.

    Texts of the hub are fetched for this, and tokenizers too.
    """
    from universality.corpus.tokenizer import tokenizer_files

    paths = local_paths(config, folder)
    for tokenizer in tokenizer_sources(config):
        paths += tokenizer_files(tokenizer)
    return hashes_by_place(paths, None if folder is None else folder.input_hashes)


def make_corpus(config: Config, folder: RunFolder) -> list[Path]:
    """Write token blocks, the tokenizer, and the held-out losses of counting models; return the files.

    Raises
    ------
    CorpusError
        If a split has no tokens.
    ModelError
        If the ``config.json`` of a loaded model says that it cannot take part.
    """
    from universality.corpus import build_corpus, build_from_arrays
    from universality.models.baselines import baselines

    check_architectures(config)
    c, sources = config.corpus, pinned_sources(config, folder)
    folder.blocks.parent.mkdir(parents=True, exist_ok=True)
    if config.models.tokenizers:
        return _make_common_text(config, folder, sources)
    if c.token_ids:
        corpus = build_from_arrays(
            c.token_ids,
            d_vocab=c.d_vocab,
            bos_id=c.bos_id,
            n_ctx=c.n_ctx,
            document_separator=c.document_separator,
            special_ids=c.special_ids,
            held_out=c.held_out,
            split_seed=c.split_seed,
            max_documents=c.max_documents,
        )
    else:
        corpus = build_corpus(
            sources,
            tokenizer=c.tokenizer,
            d_vocab=c.d_vocab,
            n_ctx=c.n_ctx,
            held_out=c.held_out,
            split_seed=c.split_seed,
            max_documents=c.max_documents,
            max_tokens=c.max_tokens,
            layout=c.layout,
        )
    blocks = corpus.blocks
    tokens = _tokens_of_splits(config, blocks)
    blocks.save(folder.blocks)
    train, held_out = blocks.select("train"), blocks.select("choose", "report")
    losses = baselines(train, held_out) if len(train) and len(held_out) else None
    _warn_of_repeats(corpus.repeated)
    summary = {
        "blocks_hash": blocks.hash,
        "documents": len(blocks.documents),
        "tokens": tokens,
        "flagged_kinds": list(blocks.flagged_kinds),
        "special_left_out": corpus.special_left_out,
        "repeated_documents": corpus.repeated,
        "notes": list(corpus.notes),
        "unigram_loss": losses and round(losses.unigram, 4),
        "bigram_loss": losses and round(losses.bigram, 4),
        **recorded_commits(config, sources),
    }
    write_json(folder.corpus_summary, summary)
    if corpus.tokenizer is None:
        return [folder.blocks, folder.corpus_summary]
    return [folder.blocks, folder.corpus_summary, *corpus.tokenizer.save(folder.tokenizer)]


def _make_common_text(config: Config, folder: RunFolder, sources: Sequence[str]) -> list[Path]:
    """Write blocks of segments, and the same blocks in the tokens of each model."""
    from universality.corpus import build_common, load_tokenizer

    c, names = config.corpus, config.models.names
    tokenizers = {name: load_tokenizer(config.models.tokenizer_of(name, c.tokenizer)) for name in names}
    text = build_common(
        sources,
        tokenizers,
        n_ctx=c.n_ctx,
        held_out=c.held_out,
        split_seed=c.split_seed,
        max_documents=c.max_documents,
        max_tokens=c.max_tokens,
        layout=c.layout,
    )
    tokens = _tokens_of_splits(config, text.blocks)
    text.blocks.save(folder.blocks)
    for name, model_blocks in text.own.items():
        model_blocks.save(folder.own_blocks(name))
    tokenizer_files = [file for name in text.own for file in tokenizers[name].save(folder.own_tokenizer(name))]
    write_json(folder.segments, text.strings)
    _warn_of_repeats(text.repeated)
    summary = {
        "blocks_hash": text.blocks.hash,
        "documents": len(text.blocks.documents),
        "tokens": tokens,
        "own_tokens": {name: model_blocks.n_tokens for name, model_blocks in text.own.items()},
        "segments_left_out": text.left_out,
        "flagged_kinds": list(text.blocks.flagged_kinds),
        "special_left_out": text.special_left_out,
        "repeated_documents": text.repeated,
        "notes": list(text.notes),
        "unigram_loss": None,  # a loss per segment cannot be compared with the models' losses per token
        "bigram_loss": None,
        **recorded_commits(config, sources),
    }
    write_json(folder.corpus_summary, summary)
    model_files = [folder.own_blocks(name) for name in names]
    return [folder.blocks, folder.corpus_summary, folder.segments, *model_files, *tokenizer_files]


def _warn_of_repeats(repeated: int) -> None:
    """Print a warning if held-out documents repeat others word for word."""
    if repeated:
        print(
            f"warning: {repeated:,} held-out documents repeat a document of another split word for word; their scores "
            "are of text that was seen. Remove the copies from the text",
            file=sys.stderr,
            flush=True,
        )


def _tokens_of_splits(config: Config, blocks: TokenBlocks) -> dict[str, int]:
    """Count the tokens of each split; raise CorpusError where one has none."""
    tokens = {split: blocks.select(split).n_tokens for split in ("train", "choose", "report")}
    if not all(tokens.values()):
        counts = ", ".join(f"{split} {n:,}" for split, n in tokens.items())
        raise CorpusError(
            f"{config.corpus.source}: {_documents(len(blocks.documents))} a split without tokens "
            f"({counts}): models learn from train, partners are chosen on choose and scored on report. "
            f"{_advice_for_empty_split(config, blocks, tokens)}"
        )
    return tokens


def _documents(n: int) -> str:
    return "1 document leaves" if n == 1 else f"{n:,} documents leave"


def _advice_for_empty_split(config: Config, blocks: TokenBlocks, tokens: dict[str, int]) -> str:
    """Say which setting or text would give the empty split tokens."""
    share = config.corpus.held_out
    if not share:
        return "corpus.held_out is 0, which trains on everything: set it, as to 0.2"
    if max(Counter(blocks.documents.kind).values(), default=0) < _LEAST_UNITS:
        return (
            f"A kind of text is split where it has {_LEAST_UNITS} documents or more. A text file among others, or of "
            "less than 4,000 characters, is one document: give more text, or cut long files by corpus.cut (passages, "
            "headings, blank_lines) or corpus.separator"
        )
    direction = "lower" if not tokens["train"] else "raise"
    return f"Give more documents, or {direction} corpus.held_out ({share:g} now)"
