"""Text of each token type.

A byte-level vocabulary writes bytes as printable characters, SentencePiece writes a space as ``▁`` and a byte as
``<0xE4>``, and WordPiece writes the inside of a word as ``##ing``. The same letter means different things in them:
``é`` is byte 0xE9 in the first and a letter in the others. The tokenizer's own decoder is therefore used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer as _HFTokenizer

_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
_MARKS = "▁#Ġ"  # prefixes that vocabularies put before a piece of a word
_TRIED = 200  # most pieces of plain letters that are tried as a neighbour


def strings_of(backend: _HFTokenizer, d_vocab: int, byte_level: bool) -> tuple[str, ...]:
    """Return the string of each token type; see `universality.corpus.tokenizer.Tokenizer.token_strings`."""
    added, alphabet = backend.get_added_tokens_decoder(), _byte_of_character() if byte_level else {}
    strings = []
    for token_id in range(d_vocab):
        token = backend.id_to_token(token_id)
        if token is None:  # a hole in the vocabulary
            strings.append(f"<|{token_id}|>")
        elif byte_level and token_id not in added and all(character in alphabet for character in token):
            strings.append(_text_of(bytes(alphabet[character] for character in token)))
        else:
            strings.append(token)
    return tuple(strings)


def texts_of(backend: _HFTokenizer, strings: Sequence[str]) -> tuple[str, ...]:
    """Decode each token type between two other tokens: ``▁the`` becomes " the", ``##ing`` becomes "ing".

    Parameters
    ----------
    strings
        [d_vocab] the names of the tokens in a vocabulary that is not byte-level.
    """
    backend = _with_decoder(backend)
    added = backend.get_added_tokens_decoder()
    plain = [i for i, string in enumerate(strings) if i not in added and backend.id_to_token(i) is not None]
    alone = dict(zip(plain, _decoded(backend, [[i] for i in plain]), strict=True))
    neighbour = _neighbour(backend, strings, plain)
    texts = list(strings) if neighbour is None else _between(backend, strings, alone, neighbour)
    for i in plain:
        byte = _BYTE.fullmatch(strings[i])
        if byte:
            texts[i] = _text_of(bytes.fromhex(byte[1]))
        elif neighbour is None:
            texts[i] = alone[i]
    return tuple(texts)


def _between(backend: _HFTokenizer, strings: Sequence[str], alone: dict[int, str], neighbour: int) -> list[str]:
    """Decode each token between two tokens of plain letters, and cut off the text of these two."""
    head = alone[neighbour]
    # If the neighbour begins a word, its second copy decodes with a space before it; that space is cut off with it.
    spaced = _decoded(backend, [[neighbour, neighbour]])[0][len(head) :]
    texts = list(strings)
    for i, whole in zip(alone, _decoded(backend, [[neighbour, i, neighbour] for i in alone]), strict=True):
        tail = spaced if whole.endswith(spaced) else head
        inside = whole.startswith(head) and whole.endswith(tail) and len(whole) >= len(head) + len(tail)
        texts[i] = whole[len(head) : len(whole) - len(tail)] if inside else alone[i]
    return texts


def _neighbour(backend: _HFTokenizer, strings: Sequence[str], plain: Sequence[int]) -> int | None:
    """Return a token of plain letters whose text appears twice if the token is decoded twice."""
    letters = [i for i in plain if (word := strings[i].strip(_MARKS)).isascii() and word.isalpha()]
    for i in sorted(letters, key=lambda i: (len(strings[i]), i))[:_TRIED]:
        once, twice = _decoded(backend, [[i], [i, i]])
        if once.isalpha() and twice.startswith(once) and twice.strip().endswith(once) and len(twice) > len(once):
            return i
    return None


def _with_decoder(backend: _HFTokenizer) -> _HFTokenizer:
    """Return the tokenizer; if it has no decoder, a copy with the decoder that undoes its model's marks."""
    if backend.decoder is not None:
        return backend
    from tokenizers import decoders

    settings = json.loads(backend.to_str())
    copied = type(backend).from_str(json.dumps(settings))
    if settings["model"]["type"] == "WordPiece":
        copied.decoder = decoders.WordPiece(settings["model"]["continuing_subword_prefix"], cleanup=False)
    elif '"Metaspace"' in json.dumps(settings["pre_tokenizer"]):
        copied.decoder = decoders.Metaspace()
    return copied


def _decoded(backend: _HFTokenizer, ids: Sequence[Sequence[int]]) -> list[str]:
    return list(backend.decode_batch([list(part) for part in ids], skip_special_tokens=False))


def _text_of(raw: bytes) -> str:
    return raw.decode("utf-8", errors="surrogateescape")


def _byte_of_character() -> dict[str, int]:
    """Return GPT-2's byte-level alphabet: printable Latin-1 maps to itself, other bytes start at U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}
