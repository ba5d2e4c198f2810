"""Repositories of the Hugging Face hub: how a model or tokenizer there is named, and how its files get here.

A *source* names where a model lies. On the hub that is ``owner/name``, or ``owner/name@revision`` for a branch, a tag
(a training checkpoint often is one) or a commit: ``EleutherAI/pythia-70m-seed1@step143000``.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from universality.errors import ModelError

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^\s@]+))?")
_BRACES = re.compile(r"\{([^{}]+)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
# The others may say which token opens a text.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "generation_config.json",
)
_CONFIG_FILES = ("*.json",)
_WEIGHTS = ("*.safetensors", "*.bin")  # the second only where the first are not: older checkpoints


@dataclass(frozen=True)
class Repository:
    """A repository at a revision."""

    name: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision}"


def repository(source: str | Path) -> Repository | None:
    """The repository that a source names; None where it is a place on this disk or a shipped model."""
    text = str(source)
    found = _NAME.fullmatch(text)
    if found is None or text.startswith("starter/") or text.endswith((".json", ".jsonl")) or Path(text).exists():
        return None
    return Repository(found["name"], found["revision"] or "main")


def fetch_files(repo: Repository, patterns: Sequence[str]) -> Path:
    """The folder of the local cache with a repository's files that match one of the patterns, downloaded if absent.

    Raises
    ------
    ModelError
        If the hub did not give them, with what to download and where to put it.
    """
    return _download(repo, patterns)


def list_files(repo: Repository) -> list[str]:
    """Paths of all files of a repository at its revision; raises ModelError as `fetch_files`."""
    from huggingface_hub import list_repo_files

    try:
        return sorted(list_repo_files(repo.name, revision=repo.revision))
    except Exception as error:  # HTTP and connection errors of several libraries
        raise _missing(repo, _reason(error, repo)) from None


def fetch_model(repo: Repository) -> Path:
    """The folder with a model's configuration and weights: from the local cache if it is there, else downloaded.

    What is in the cache is not compared with the hub again, so that one run reads one model.

    Raises
    ------
    ModelError
        If neither has it, with what to download and where to put it.
    """
    cached = cached_folder(repo, (*_CONFIG_FILES, *_WEIGHTS))
    if cached is not None and _whole(cached):
        return cached
    for weights in _WEIGHTS:
        folder = _download(repo, (*_CONFIG_FILES, weights))
        if _whole(folder):
            return folder
    raise _missing(repo, "config.json with all its weights (*.safetensors or *.bin) is not among what it gave")


def fetch_tokenizer(repo: Repository) -> Path:
    """The folder with ``tokenizer.json``, as `fetch_model`; raises ModelError."""
    cached = cached_folder(repo, TOKENIZER_FILES)
    return cached if cached is not None and (cached / "tokenizer.json").is_file() else _download(repo, TOKENIZER_FILES)


def fetch_config(repo: Repository) -> Path:
    """The folder with a model's ``config.json``, as `fetch_model`, without its weights; raises ModelError."""
    cached = cached_folder(repo)
    return cached if cached is not None and (cached / "config.json").is_file() else _download(repo, _CONFIG_FILES)


def cached_folder(repo: Repository, files: Sequence[str] = _CONFIG_FILES) -> Path | None:
    """Where the local cache keeps this revision, whole or in part; None where it does not. Asks no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(repo.name, revision=repo.revision, allow_patterns=list(files), local_files_only=True)
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        return None


def commit_of(folder: Path) -> str | None:
    """The commit whose files a folder of the cache holds (its name); None for other folders."""
    return folder.name if folder.parent.name == "snapshots" else None


def expand(text: str) -> list[str]:
    """Names that a name with braces stands for, as in a shell: ``seed{1..3}``, ``layer_{0,6}/width_{16k,65k}``."""
    braces = _BRACES.search(text)
    if braces is None:
        return [text]
    numbers = _RANGE.fullmatch(braces[1])
    inside = [str(n) for n in range(int(numbers[1]), int(numbers[2]) + 1)] if numbers else braces[1].split(",")
    return [text[: braces.start()] + part.strip() + rest for part in inside for rest in expand(text[braces.end() :])]


def _download(repo: Repository, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo.name, revision=repo.revision, allow_patterns=list(files)))
    except Exception as error:  # HTTP, connection, validation and disk errors of several libraries
        raise _missing(repo, _reason(error, repo)) from None


def _reason(error: Exception, repo: Repository) -> str:
    """Why the hub gave nothing, in words that say what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):  # a subclass of RepositoryNotFoundError
        return "the repository is gated: accept its terms on its page and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private and you are not logged in (`hf auth login`)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the repository has no revision {repo.revision!r}"
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[0].rstrip(".")


def _missing(repo: Repository, reason: str) -> ModelError:
    folder = f"models/{repo.name.split('/')[1]}" + ("" if repo.revision == "main" else f"-{repo.revision}")
    return ModelError(
        f"{repo}: no such file or folder here, and the Hugging Face hub or its cache did not give it: {reason}. Where "
        f"there is a network: `hf download {repo.name} --revision {repo.revision} --local-dir {folder}`; copy the "
        f"folder {folder} to this machine and write its path in place of {repo}. Or copy the cache of that machine "
        "and point HF_HOME at it"
    )


def _whole(folder: Path) -> bool:
    """Whether the configuration and all files of weights are there."""
    if not (folder / "config.json").is_file():
        return False
    for index in folder.glob("*.index.json"):
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (json.JSONDecodeError, KeyError, AttributeError):
            return False
        if all((folder / str(name)).is_file() for name in named):
            return True
    sharded = any(folder.glob("*.index.json"))
    return not sharded and any(path for pattern in _WEIGHTS for path in folder.glob(pattern))
