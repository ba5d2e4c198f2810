"""Data sets of the Hugging Face hub: streamed until a budget is reached, and kept as canonical JSON lines.

A name is ``owner/dataset``, ``owner/dataset@revision``, and after a colon the configuration and the split:
``Salesforce/wikitext:wikitext-2-raw-v1/train``. The text that was streamed lies in ``HF_HOME/universality``, named by
the commit, the columns and the budget, so a later run reads the same bytes without a network. A revision that was
resolved once is not compared with the hub again, like those of models.
"""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from universality.corpus.passage import checked_passages
from universality.corpus.records import format_ending, format_of
from universality.corpus.texts import located_items, records_of, write_passages
from universality.corpus.token_budget import within_budget
from universality.corpus.tokenizer import Tokenizer
from universality.errors import CorpusError, UniversalityError
from universality.extras import naming_extra
from universality.files import write_bytes
from universality.hub import Repository, reason_of, repository

_log = logging.getLogger(__name__)
_COMMIT = re.compile("[0-9a-f]{40}")
_TEXT_ENDINGS = (".txt", ".md", ".markdown", ".npy", ".text", ".tex", ".html")


@dataclass(frozen=True)
class HubText:
    """A split of a data set at a revision.

    Examples
    --------
    >>> str(hub_text("acme/stories@v2:small/test"))
    'acme/stories@v2:small/test'
    >>> str(hub_text("acme/stories"))
    'acme/stories:default/train'
    >>> hub_text("my_text/book.txt") is None
    True
    """

    repository: Repository
    config: str | None = None
    split: str = "train"

    @property
    def label(self) -> str:
        """Name without the revision, from which documents without ids are named: splits follow from it."""
        return f"{self.repository.name}:{self.config or 'default'}/{self.split}"

    def at(self, commit: str) -> "HubText":
        """Return the same split at a commit."""
        return HubText(Repository(self.repository.name, commit), self.config, self.split)

    def __str__(self) -> str:
        return f"{self.repository}:{self.config or 'default'}/{self.split}"


@dataclass(frozen=True)
class TextBudget:
    """How much of a data set is read: documents, tokens, and the tokenizers that count them."""

    max_documents: int | None = None
    max_tokens: int | None = None
    tokenizers: Sequence[Tokenizer] = ()


def hub_text(source: str | Path) -> HubText | None:
    """Return the data set that a source names; None for ``starter``, and for local files and folders."""
    name, _, inside = str(source).partition(":")
    path = Path(name)
    if Path(source).exists() or format_of(path) or format_ending(path) in _TEXT_ENDINGS:
        return None
    repo = repository(name)
    if repo is None:
        return None
    config, _, split = inside.partition("/")
    return HubText(repo, config if config not in ("", "default") else None, split or "train")


def fetch_texts(text: HubText, columns: Mapping[str, str], budget: TextBudget) -> Path:
    """Return the file of the cache with a data set's text, streamed from the hub if it is not there.

    Parameters
    ----------
    columns
        Field (``text``, ``kind``, ``group``, ``id``) → name of its column, where that differs.
    budget
        Where to stop. Little more than that is downloaded.

    Raises
    ------
    CorpusError
        If there is no budget, the package ``datasets`` is missing, the hub does not give the data set, or it has no
        such configuration, split or column.
    """
    if budget.max_documents is None and budget.max_tokens is None:
        raise CorpusError(
            f"{text}: a data set of the hub is read up to a budget, since it may be larger than any disk; set "
            "corpus.max_tokens, as to 20000000, or corpus.max_documents"
        )
    pinned = text.at(resolve_commit(text.repository))
    path = _cache() / f"{text.repository.name.replace('/', '--')}-{_digest(pinned, columns, budget)}.jsonl"
    if not path.is_file():
        _stream(pinned, columns, budget, path)
    return path


def resolve_commit(repo: Repository) -> str:
    """Return the commit of a revision, as resolved before or by the hub.

    Raises
    ------
    CorpusError
        If neither knows it; says why.
    """
    if _COMMIT.fullmatch(repo.revision):
        return repo.revision
    known = _cache() / "revisions" / f"{repo.name.replace('/', '--')}@{repo.revision.replace('/', '--')}"
    if known.is_file() and _COMMIT.fullmatch(commit := known.read_text(encoding="utf-8")):
        return commit
    from huggingface_hub import HfApi

    try:
        commit = str(HfApi().dataset_info(repo.name, revision=repo.revision).sha)
    except Exception as error:  # HTTP and connection errors of several libraries
        raise _missing(repo, reason_of(error, repo)) from None
    write_bytes(known, commit.encode())
    return commit


def _stream(text: HubText, columns: Mapping[str, str], budget: TextBudget, path: Path) -> None:
    """Write the beginning of a data set's split, up to the budget."""
    without_text: Counter[str] = Counter()
    rows = _guarded(text, records_of(_open_split(text), columns, text.label))
    passages = checked_passages(located_items(rows, columns, text.label), without_text)
    limited = islice(passages, budget.max_documents)
    write_passages(within_budget(limited, budget.max_tokens, budget.tokenizers), path, str(text))
    if n := without_text.total():
        _log.warning("%s: rows without text are left out: %s", text, f"{n:,}")


def _open_split(text: HubText) -> Any:
    """Return the split as a ``datasets.IterableDataset``."""
    repo = text.repository
    with naming_extra(f"{repo.name}, no file or folder here, as a data set of the hub"):
        from datasets import load_dataset
    try:
        return load_dataset(repo.name, text.config, split=text.split, revision=repo.revision, streaming=True)
    except Exception as error:  # of datasets, huggingface_hub and the readers of each format
        raise _explained(text, error) from None


def _guarded(text: HubText, rows: Iterator[Any]) -> Iterator[Any]:
    """Yield the rows; an error while they are downloaded or decoded names the data set."""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except UniversalityError:
            raise
        except Exception as error:  # of the connection, and of the readers of each format
            raise _explained(text, error) from None
        yield row


def _explained(text: HubText, error: Exception) -> CorpusError:
    """Say why the hub gave nothing, or why what it gave cannot be read."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError | ConnectionError):
        return _missing(text.repository, reason_of(error, text.repository))
    said = " ".join(str(error).split("\n")[:2]).strip().rstrip(".") or type(error).__name__
    if isinstance(error, DatasetNotFoundError):  # gated, or gone since its commit was resolved
        return _missing(text.repository, f"{said}; log in with `hf auth login`")
    return CorpusError(
        f"{text}: the data set cannot be read: {said}; its name is owner/dataset@revision:configuration/split"
    )


def _missing(repo: Repository, reason: str) -> CorpusError:
    folder = repo.name.split("/")[1]
    return CorpusError(
        f"{repo}: no such file or folder here, and the Hugging Face hub or its cache did not give a data set: "
        f"{reason}. Where there is a network: `hf download {repo.name} --repo-type dataset --local-dir "
        f"{folder}`; copy its files to this machine and give those with the text as corpus.source. Or copy the cache "
        "of that machine and point HF_HOME at it"
    )


def _cache() -> Path:
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "universality"


def _digest(text: HubText, columns: Mapping[str, str], budget: TextBudget) -> str:
    counted_by = [tokenizer.hash for tokenizer in budget.tokenizers] if budget.max_tokens else []
    request = [str(text), dict(columns), budget.max_documents, budget.max_tokens, counted_by]
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]
