"""Which token opens a text (BOS): what a tokenizer's own file says, and what Hugging Face's files beside it say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as _HFTokenizer

from universality.errors import CorpusError
from universality.files import write_json

# What a Hugging Face tokenizer may call the token that opens a text, in order of preference.
_USUAL = ("<|bos|>", "<|begin_of_text|>", "<bos>", "<s>", "[CLS]", "<|endoftext|>")
_NAMED_IN = ("tokenizer_config.json", "special_tokens_map.json")
_NUMBERED_IN = ("config.json", "generation_config.json")


def find_bos(file: Path, backend: _HFTokenizer) -> int:
    """Id of the token that opens a text.

    It is the first of these that the vocabulary holds: ``bos_token`` of the files beside ``file``; the special token
    that the tokenizer itself puts first; a usual name; ``bos_token_id`` of the model's configuration, where that is a
    special token; ``cls_token`` and ``eos_token`` of the files beside it.

    Raises
    ------
    CorpusError
        If there is none.
    """
    found = next((i for i in _candidates(file, backend) if i is not None), None)
    if found is None:
        raise CorpusError(
            f"{file}: names no token that opens a document; expected bos_token in {_NAMED_IN[0]} beside it, or one of "
            f"{', '.join(_USUAL)} in the vocabulary"
        )
    return found


def declare_bos(file: Path, backend: _HFTokenizer, bos_id: int) -> Path | None:
    """Name the token beside a ``tokenizer.json`` from which `find_bos` would not find it; the file that names it."""
    target = file.with_name(f"{file.stem}_config.json")
    if next((i for i in _candidates(file, backend) if i is not None), None) != bos_id:
        known = _read(target) if target.is_file() else {}
        write_json(target, {**known, "bos_token": backend.id_to_token(bos_id)})
    return target if target.is_file() else None


def declarations(file: Path) -> list[Path]:
    """The files beside a tokenizer's that may name the token, those that are there."""
    own = file.stem != "tokenizer"  # one of several in a run's folder, each with a file of its own
    names = [f"{file.stem}_config.json"] if own else [*_NAMED_IN, *_NUMBERED_IN]
    return [path for path in map(file.with_name, names) if path.is_file()]


def _candidates(file: Path, backend: _HFTokenizer) -> Iterator[int | None]:
    beside = [(path.name, _read(path)) for path in declarations(file)]
    named = [said for name, said in beside if name not in _NUMBERED_IN]
    yield from (_named(said, "bos_token", backend) for said in named)
    yield _put_first(backend)
    yield from map(backend.token_to_id, _USUAL)
    special = {i for i, token in backend.get_added_tokens_decoder().items() if token.special}
    for name, said in beside:
        number = said.get("bos_token_id")
        # Configurations are often filled with another model's defaults, so a number alone is not believed.
        yield number if name in _NUMBERED_IN and isinstance(number, int) and number in special else None
    yield from (_named(said, kind, backend) for kind in ("cls_token", "eos_token") for said in named)


def _named(said: dict[str, Any], key: str, backend: _HFTokenizer) -> int | None:
    """Id of a token that stands there as text, or as the object of an added token."""
    value = said.get(key)
    content = value.get("content") if isinstance(value, dict) else value
    found: int | None = backend.token_to_id(content) if isinstance(content, str) else None
    return found


def _put_first(backend: _HFTokenizer) -> int | None:
    """The special token that the tokenizer's own post-processor puts before a text."""
    encoded = backend.encode("a")
    return int(encoded.ids[0]) if encoded.special_tokens_mask[:2] == [1, 0] else None


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{file}: not a JSON object: {error}") from None
    if not isinstance(said, dict):
        raise CorpusError(f"{file}: not a JSON object: found {type(said).__name__}")
    return said
