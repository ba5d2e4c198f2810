"""Models, texts and SAEs that a caller holds in memory, saved into the run's folder so that the run can resume.

They go to ``inputs/`` of the folder. Beside each stands a record, written last, with a hash of what was given: the
same objects are not written again, and a folder without its record is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from universality.errors import CorpusError, ModelError, UniversalityError
from universality.files import as_path, read_json, replacing, sha256, write_json

_TOKENIZER_PARTS = ("bos_token", "cls_token", "eos_token", "pad_token", "unk_token")


def is_path(value: Any) -> bool:
    """Return whether a value names something instead of being it."""
    return isinstance(value, str | os.PathLike)


def model_and_tokenizer(name: str, given: Any) -> tuple[Any, Any]:
    """Split a model in memory from its tokenizer.

    Parameters
    ----------
    name
        Name of the model in this study, for messages.
    given
        ``(model, tokenizer)`` of transformers, a `LanguageModel`, or a TransformerBridge with a tokenizer.

    Raises
    ------
    ModelError
        If it is none of these, or the tokenizer is missing.
    """
    model, tokenizer = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    bridge: Any = getattr(model, "bridge", model)
    if hasattr(bridge, "original_model"):
        tokenizer = tokenizer or getattr(bridge, "tokenizer", None)
        model = bridge.original_model
    if not hasattr(model, "named_parameters"):
        raise ModelError(
            f"{name}: expected a model's name, folder, or (model, tokenizer) of transformers; found "
            f"{type(given).__name__}"
        )
    if not hasattr(model, "save_pretrained"):
        raise ModelError(
            f"{name}: {type(model).__name__} is no model of transformers; save it to a folder "
            "(universality.models.language_model.save_model) and pass the folder"
        )
    if hasattr(model, "merge_and_unload"):
        raise ModelError(f"{name}: {type(model).__name__} is an adapter; pass model.merge_and_unload() instead")
    if tokenizer is None:
        raise ModelError(f"{name}: a model in memory needs its tokenizer; pass the tuple (model, tokenizer)")
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            f"{name}: {type(tokenizer).__name__} is not a fast tokenizer; load it with "
            "AutoTokenizer.from_pretrained(..., use_fast=True)"
        )
    return model, tokenizer


def n_layers(given: Any) -> int | None:
    """Return the number of layers of a model in memory; None where it is not known yet."""
    model = given[0] if isinstance(given, tuple) and given else given
    config = getattr(model, "config", None)
    number = getattr(config, "num_hidden_layers", None)
    return number if isinstance(number, int) else None


def model_hash(model: Any, tokenizer: Any) -> str:
    """Return a hash of the weights and configuration of a model in memory and of its tokenizer."""
    from universality.models.weights_hash import weights_hash

    digest = hashlib.sha256(weights_hash(_state(model)).encode())
    digest.update(json.dumps(model.config.to_dict(), sort_keys=True, default=str).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    digest.update(repr([getattr(tokenizer, part, None) for part in _TOKENIZER_PARTS]).encode())
    return digest.hexdigest()


def identity(given: Any) -> str:
    """Return what tells a given model or SAE from others: its source, or a hash of its contents."""
    if isinstance(given, tuple):
        return model_hash(*given)
    return str(given) if is_path(given) else str(given.hash)


def keep_model(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Write a model in memory and its tokenizer as a Hugging Face folder, unless the same ones are there.

    The model is left as it is: transformers notes the class and the number format in a configuration that it saves,
    and both are taken back.

    Parameters
    ----------
    model, tokenizer
        As `model_and_tokenizer` returns them.
    folder
        Folder to write; a different model that is there is replaced.
    """

    from universality.models.quiet_loading import quiet_unless_watched

    def write(target: Path) -> None:
        with _unchanged(model.config), quiet_unless_watched():
            model.save_pretrained(target, state_dict=_state(model))
        tokenizer.save_pretrained(target)

    return _save_once(folder, model_hash(model, tokenizer), write)


def keep_saes(saes: Sequence[Any], folder: Path) -> list[str]:
    """Return the names and paths of SAEs, of which those in memory are written below the folder."""
    return [
        str(sae) if is_path(sae) else str(_save_once(folder / str(i), sae.hash, sae.save)) for i, sae in enumerate(saes)
    ]


@contextmanager
def texts_as_source(texts: Any) -> Iterator[tuple[str | list[str] | None, Path | None]]:
    """Yield the source that texts name, or a temporary file of texts that are in memory; None for the other."""
    if is_path(texts):
        _check_source(str(texts))
        yield str(texts), None
        return
    if isinstance(texts, list | tuple) and texts and all(_names_a_file(text) for text in texts):
        yield [str(text) for text in texts], None
        return
    from universality.corpus import write_texts

    with TemporaryDirectory() as folder:
        yield None, write_texts(texts, Path(folder) / "texts.jsonl")


def _check_source(source: str) -> None:
    """Refuse a source of text that is neither here nor may be on the hub."""
    from universality.corpus.hub_texts import hub_text

    if source != "starter" and not as_path(source).exists() and hub_text(source) is None:
        raise CorpusError(f"{source}: no such file or folder; pass texts themselves as a list")


def keep_texts(file: Path, target: Path) -> Path:
    """Copy a file of texts to its place in the run, unless the same one is there."""
    if not target.is_file() or sha256(target) != sha256(file):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as copy:
            shutil.copyfile(file, copy)
    return target


def _names_a_file(text: Any) -> bool:
    """Return whether a text in a list is the path of a file or folder."""
    if isinstance(text, os.PathLike):
        return True
    if not isinstance(text, str) or not text.strip() or "\n" in text:
        return False
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # longer than a file name may be, or with NUL
        return False


def _save_once(folder: Path, given_hash: str, write: Callable[[Path], Any]) -> Path:
    """Let ``write`` fill the folder, and record the hash of what was given; do nothing if that is recorded."""
    record = folder.with_name(f"{folder.name}.json")
    if record.is_file() and folder.is_dir() and read_json(record).get("hash") == given_hash:
        return folder
    record.unlink(missing_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    for leftover in (partial, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    partial.rename(folder)
    write_json(record, {"hash": given_hash, "from": "memory"})
    return folder


def _state(model: Any) -> dict[str, Any]:
    """Return the state under the model's own names, also where TransformerLens has wrapped its modules."""
    from universality.models.language_model import unwrapped_name

    state = model.state_dict()
    unwrapped = {unwrapped_name(name): value for name, value in state.items()}
    if unwrapped.keys() == state.keys():
        return unwrapped
    # A bridge also adds parts of its own, such as the split query, key and value: only the class's names are kept.
    import torch

    with torch.device("meta"):
        names = type(model)(model.config).state_dict().keys()
    return {name: unwrapped[name] for name in names}


@contextmanager
def _unchanged(config: Any) -> Iterator[None]:
    before = dict(vars(config))
    try:
        yield
    finally:
        vars(config).clear()
        vars(config).update(before)


def listed_saes(name: str, saes: Any) -> Sequence[Any]:
    """Return the SAEs of one model as a list of names, paths or SAEs.

    Raises
    ------
    UniversalityError
        If an item is none of these.
    """
    items = [saes] if is_path(saes) or not isinstance(saes, Sequence) else list(saes)
    if not items:
        raise UniversalityError(f"saes names no SAE of {name}; give at least one, or leave saes out")
    for item in items:
        if not is_path(item) and not (hasattr(item, "W_dec") and hasattr(item, "hash")):
            raise UniversalityError(
                f"saes of {name}: expected names, folders or SAEs of this package, found {type(item).__name__}; wrap "
                "an SAE of another library by saving it and passing its folder"
            )
    return items


def named_models(models: Any) -> dict[str, Any]:
    """Return models by name; of a list, names follow from their sources.

    Raises
    ------
    UniversalityError
        If there are fewer than two, or a list holds a model that is in memory.
    """
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    elif is_path(models):
        raise UniversalityError(f"expected two models or more, found {models} alone; pass a list or a dictionary")
    else:
        if unnamed := [model for model in models if not is_path(model)]:
            raise UniversalityError(
                f"a model in memory ({type(unnamed[0]).__name__}) needs a name: pass a dictionary, as in "
                '{"A": (model, tokenizer), "B": …}'
            )
        named = dict(zip(_short_names([str(model) for model in models]), models, strict=True))
    if len(named) < 2:
        raise UniversalityError(f"expected two models or more, found {', '.join(named) or 'none'}")
    return named


def _short_names(sources: Sequence[str]) -> list[str]:
    """Shorten sources to names that are file names too: their last part, with the revision where it tells them apart.

    Examples
    --------
    >>> _short_names(["EleutherAI/pythia-70m", "EleutherAI/pythia-70m-seed1"])
    ['pythia-70m', 'pythia-70m-seed1']
    >>> _short_names(["EleutherAI/pythia-70m@step1000", "EleutherAI/pythia-70m@step2000"])
    ['pythia-70m_step1000', 'pythia-70m_step2000']
    >>> _short_names(["mine/model", "theirs/model"])
    ['mine_model', 'theirs_model']
    """
    bare, full = [], []
    for source in sources:
        path, _, revision = source.rstrip("/").partition("@")
        path = str(Path(path or "/").resolve()) if path in ("", ".", "..") or path.startswith(("./", "../")) else path
        parts = [part for part in path.split("/") if part not in ("", "~")]
        bare.append(_file_name(parts[-1] if parts else ""))
        full.append(_file_name("_".join([*parts[-2:], revision] if revision else parts[-2:])))
    with_revision = [
        _file_name(f"{name}_{source.partition('@')[2]}") for name, source in zip(bare, sources, strict=True)
    ]
    for names in (bare, with_revision, full):
        if len({name.casefold() for name in names}) == len(names):
            return names
    return [f"{name}_{i + 1}" for i, name in enumerate(full)]


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text).strip("_-") or "model"
