"""Detection of the token that opens a text (BOS), from a tokenizer's own file and from the files beside it.

Tokenizer files of the hub declare BOS in different places, and some of them wrongly. `find_bos` tries the places from
the most to the least reliable one and takes the first token that the vocabulary holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.errors import CorpusError
from universality.files import write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer as _HFTokenizer

# Usual names of the opening token in Hugging Face tokenizers, in order of preference.
_USUAL = ("<|bos|>", "<|begin_of_text|>", "<bos>", "<s>", "[CLS]", "<|endoftext|>")
_NAMED_IN = ("tokenizer_config.json", "special_tokens_map.json")
_NUMBERED_IN = ("config.json", "generation_config.json")


def find_bos(file: Path, backend: _HFTokenizer) -> int:
    """Find the id of the token that opens a text.

    The first of these that the vocabulary holds is taken: ``bos_token`` in the files beside ``file``; the special
    token that the tokenizer itself puts first; a usual name; ``bos_token_id`` in the model's configuration if it is
    the id of a special token; ``cls_token`` and ``eos_token`` in the files beside ``file``.

    Raises
    ------
    CorpusError
        If no token qualifies.
    """
    bos_id = next((i for i in _candidates(file, backend) if i is not None), None)
    if bos_id is None:
        raise CorpusError(
            f"{file}: names no token that opens a document; expected bos_token in {_NAMED_IN[0]} beside it, or one of "
            f"{', '.join(_USUAL)} in the vocabulary"
        )
    return bos_id


def declare_bos(file: Path, backend: _HFTokenizer, bos_id: int) -> Path | None:
    """Declare BOS beside a saved tokenizer if `find_bos` would not find it; return the declaring file, if any."""
    target = file.with_name(f"{file.stem}_config.json")
    if next((i for i in _candidates(file, backend) if i is not None), None) != bos_id:
        existing = _read(target) if target.is_file() else {}
        write_json(target, {**existing, "bos_token": backend.id_to_token(bos_id)})
    return target if target.is_file() else None


def declarations(file: Path) -> list[Path]:
    """List the existing files beside a tokenizer that may declare its BOS."""
    # A run's folder may hold tokenizer.A.json and tokenizer.B.json: each reads its own declaration and no shared one.
    one_of_several = file.stem != "tokenizer"
    names = [f"{file.stem}_config.json"] if one_of_several else [*_NAMED_IN, *_NUMBERED_IN]
    return [path for path in map(file.with_name, names) if path.is_file()]


def _candidates(file: Path, backend: _HFTokenizer) -> Iterator[int | None]:
    beside = [(path.name, _read(path)) for path in declarations(file)]
    by_name = [declared for name, declared in beside if name not in _NUMBERED_IN]
    yield from (_named(declared, "bos_token", backend) for declared in by_name)
    yield _prepended_token(backend)
    yield from map(backend.token_to_id, _USUAL)
    special = {i for i, token in backend.get_added_tokens_decoder().items() if token.special}
    for name, declared in beside:
        number = declared.get("bos_token_id")
        # Configurations are often filled with another model's defaults, so a number counts for a special token only.
        yield number if name in _NUMBERED_IN and isinstance(number, int) and number in special else None
    # Last resort: encoders open with CLS, and GPT-2-like models separate documents with EOS.
    yield from (_named(declared, key, backend) for key in ("cls_token", "eos_token") for declared in by_name)


def _named(declared: dict[str, Any], key: str, backend: _HFTokenizer) -> int | None:
    """Return the id of a token that is declared as text or as an added token's object."""
    value = declared.get(key)
    content = value.get("content") if isinstance(value, dict) else value
    token_id: int | None = backend.token_to_id(content) if isinstance(content, str) else None
    return token_id


def _prepended_token(backend: _HFTokenizer) -> int | None:
    """Return the special token that the tokenizer's post-processor puts before a text."""
    encoded = backend.encode("a")
    return int(encoded.ids[0]) if encoded.special_tokens_mask[:2] == [1, 0] else None


def _read(file: Path) -> dict[str, Any]:
    try:
        declared = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{file}: not a JSON object: {error}") from None
    if not isinstance(declared, dict):
        raise CorpusError(f"{file}: not a JSON object: found {type(declared).__name__}")
    return declared
