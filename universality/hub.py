"""Repositories of the Hugging Face hub: names of models and tokenizers, and access to their files.

A *source* says where a model is. A source on the hub is ``owner/name``, or ``owner/name@revision`` for a branch, a tag
(often a training checkpoint) or a commit, such as ``EleutherAI/pythia-70m-seed1@step143000``.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from universality.errors import ModelError
from universality.extras import naming_extra

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^\s@]+))?")
_BRACES = re.compile(r"\{([^{}]+)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
TOKENIZER_FILES = (  # the files after the first may declare BOS
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "config.json",
    "generation_config.json",
)
_CONFIG_FILES = ("*.json",)
_WEIGHTS = ("*.safetensors", "*.bin")  # .bin is downloaded only if there is no .safetensors, as in older checkpoints


@dataclass(frozen=True)
class Repository:
    """A repository at a revision."""

    name: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.name if self.revision == "main" else f"{self.name}@{self.revision}"


def repository(source: str | Path) -> Repository | None:
    """Return the repository that a source names; None for a local path or a shipped model.

    Examples
    --------
    >>> repository("EleutherAI/pythia-70m@step1000")
    Repository(name='EleutherAI/pythia-70m', revision='step1000')
    >>> repository("./models/tiny") is None
    True
    """
    text = str(source)
    match = _NAME.fullmatch(text)
    if match is None or text.startswith("starter/") or text.endswith((".json", ".jsonl")) or Path(text).exists():
        return None
    return Repository(match["name"], match["revision"] or "main")


def fetch_files(repo: Repository, patterns: Sequence[str]) -> Path:
    """Return the folder of the local cache with a repository's files that match the patterns, downloaded if absent.

    Raises
    ------
    ModelError
        If the hub did not give them, with what to download and where to put it.
    """
    return _download(repo, patterns)


@naming_extra("a name on the Hugging Face hub")
def list_files(repo: Repository) -> list[str]:
    """List the paths of all files of a repository at its revision; raise ModelError as `fetch_files`."""
    from huggingface_hub import list_repo_files

    try:
        return sorted(list_repo_files(repo.name, revision=repo.revision))
    except Exception as error:  # HTTP and connection errors of several libraries
        raise _missing(repo, reason_of(error, repo)) from None


def fetch_model(repo: Repository) -> Path:
    """Return the folder with a model's configuration and weights, from the local cache or by download.

    A cached model is not compared with the hub again, so that all stages of a run read the same model.

    Raises
    ------
    ModelError
        If neither provides it; says what to download and where to put it.
    """
    cached = cached_folder(repo, (*_CONFIG_FILES, *_WEIGHTS))
    if cached is not None and _whole(cached):
        return cached
    for weights in _WEIGHTS:
        folder = _download(repo, (*_CONFIG_FILES, weights))
        if _whole(folder):
            return folder
    raise _missing(repo, "config.json with all its weights (*.safetensors or *.bin) is not among its files")


def fetch_tokenizer(repo: Repository) -> Path:
    """Return the folder with ``tokenizer.json``, from the cache or by download; raise ModelError as `fetch_model`."""
    cached = cached_folder(repo, TOKENIZER_FILES)
    return cached if cached is not None and (cached / "tokenizer.json").is_file() else _download(repo, TOKENIZER_FILES)


def fetch_config(repo: Repository) -> Path:
    """Return a folder with a model's ``config.json``, without weights; raise ModelError as `fetch_model` does."""
    cached = cached_folder(repo)
    return cached if cached is not None and (cached / "config.json").is_file() else _download(repo, _CONFIG_FILES)


@naming_extra("a name on the Hugging Face hub")
def cached_folder(repo: Repository, files: Sequence[str] = _CONFIG_FILES) -> Path | None:
    """Return the folder of this revision in the local cache, complete or not; None if absent. Needs no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(repo.name, revision=repo.revision, allow_patterns=list(files), local_files_only=True)
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
        return None


def commit_of(folder: Path) -> str | None:
    """Return the commit of a folder in the cache, which is its name; None for other folders."""
    return folder.name if folder.parent.name == "snapshots" else None


def expand(text: str) -> list[str]:
    """Expand braces as a shell does: ``seed{1..3}``, ``layer_{0,6}/width_{16k,65k}``.

    Examples
    --------
    >>> expand("model-seed{1..3}")
    ['model-seed1', 'model-seed2', 'model-seed3']
    >>> expand("layer_{0,6}/l0_{10,50}")
    ['layer_0/l0_10', 'layer_0/l0_50', 'layer_6/l0_10', 'layer_6/l0_50']
    """
    braces = _BRACES.search(text)
    if braces is None:
        return [text]
    numbers = _RANGE.fullmatch(braces[1])
    inside = [str(n) for n in range(int(numbers[1]), int(numbers[2]) + 1)] if numbers else braces[1].split(",")
    return [text[: braces.start()] + part.strip() + rest for part in inside for rest in expand(text[braces.end() :])]


@naming_extra("a name on the Hugging Face hub")
def _download(repo: Repository, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo.name, revision=repo.revision, allow_patterns=list(files)))
    except Exception as error:  # HTTP, connection, validation and disk errors of several libraries
        raise _missing(repo, reason_of(error, repo)) from None


def reason_of(error: Exception, repo: Repository) -> str:
    """Say why the hub gave nothing, and what to do."""
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
    """Return whether the configuration and all weight files exist."""
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
