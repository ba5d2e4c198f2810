"""Sources of a study's text: local files, and data sets of the hub at the commit that the run read first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from universality.config import Config
from universality.errors import FormatError
from universality.files import read_json
from universality.pipeline.paths import RunFolder

if TYPE_CHECKING:
    from universality.corpus import Tokenizer


def pinned_sources(config: Config, folder: RunFolder | None = None) -> list[str]:
    """List the sources; a data set of the hub that the run has read before stands at the commit of that time.

    A resumed run therefore reads the same text where the data set has changed since and the cache was deleted.
    """
    from universality.corpus.hub_texts import hub_text

    try:
        commits = read_json(folder.corpus_summary).get("commits", {}) if folder else {}
    except (FileNotFoundError, FormatError):
        commits = {}
    pinned = []
    for source in config.corpus.sources:
        text = hub_text(source)
        pinned.append(str(text.at(commits[source])) if text and source in commits else source)
    return pinned


def local_paths(config: Config, folder: RunFolder | None = None) -> list[Path]:
    """Return the file or folder of each source; data sets of the hub are fetched."""
    from universality.corpus.hub_texts import TextBudget, fetch_texts, hub_text
    from universality.corpus.passages import STARTER

    c, paths = config.corpus, []
    for source in pinned_sources(config, folder):
        if text := hub_text(source):
            budget = TextBudget(c.max_documents, c.max_tokens, counting_tokenizers(config))
            paths.append(fetch_texts(text, c.layout.columns, budget))
        else:
            paths.append(STARTER if source == "starter" else Path(source))
    return paths


def recorded_commits(config: Config, sources: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return ``commits``: source → commit, of the data sets of the hub; nothing without any.

    Parameters
    ----------
    sources
        The sources of the configuration, as `pinned_sources` gives them.
    """
    from universality.corpus.hub_texts import hub_text, resolve_commit

    texts = {name: hub_text(source) for name, source in zip(config.corpus.sources, sources, strict=True)}
    commits = {name: resolve_commit(text.repository) for name, text in texts.items() if text}
    return {"commits": commits} if commits else {}


def tokenizer_sources(config: Config) -> list[str]:
    """List the sources of the tokenizers that the text is read with, without one that is yet to be trained."""
    c, models = config.corpus, config.models
    names = models.names if models.tokenizers else []
    sources = [models.tokenizer_of(name, c.tokenizer) for name in names] or [c.tokenizer]
    return [source for source in sources if source != "train"]


def counting_tokenizers(config: Config) -> list[Tokenizer]:
    """Load the tokenizers that count for ``corpus.max_tokens``."""
    from universality.corpus import load_tokenizer

    return [load_tokenizer(source) for source in tokenizer_sources(config)] if config.corpus.max_tokens else []
