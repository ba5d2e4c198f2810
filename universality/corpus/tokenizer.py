"""Byte-level BPE tokenizers, trained here or taken from a Hugging Face folder.

Only the ``tokenizers`` library is used: a ``tokenizer.json`` is all that this package writes or reads.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as _HFTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from universality.errors import CorpusError
from universality.files import as_path
from universality.hub import fetch_tokenizer, repository

BOS = "<|bos|>"
STARTER_TOKENIZER = Path(__file__).parent / "starter" / "tokenizer.json"
# What a Hugging Face tokenizer may call the token that starts a document, in order of preference.
_BOS_NAMES = (BOS, "<|begin_of_text|>", "<bos>", "<s>", "[CLS]", "<|endoftext|>")


@dataclass(frozen=True, eq=False)
class Tokenized:
    """A text's tokens and where each stands in it.

    Attributes
    ----------
    ids : int32 [n]
    start, end : int64 [n]
        Characters of the text, the end not included. The tokens of one character in several bytes each span it.
    """

    ids: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass(frozen=True)
class Tokenizer:
    """A ``tokenizers`` tokenizer and the token that opens every block."""

    backend: _HFTokenizer
    """The library's own object."""
    bos_id: int
    """Id of the token that opens a block."""

    @property
    def d_vocab(self) -> int:
        """Number of token types, special ones included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    @cached_property
    def hash(self) -> str:
        """sha256 of the tokenizer's JSON."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_spans(self, texts: Sequence[str]) -> list[Tokenized]:
        """Tokens of each text, without special tokens, and where they stand in it."""
        found = []
        for encoding in self._untrimmed.encode_batch(list(texts), add_special_tokens=False):
            span = np.array(encoding.offsets, np.int64).reshape(-1, 2)
            found.append(Tokenized(np.array(encoding.ids, np.int32), span[:, 0], span[:, 1]))
        return found

    @cached_property
    def _untrimmed(self) -> _HFTokenizer:
        """Without the post-processor, which adds special tokens and may cut spaces from offsets."""
        settings = json.loads(self.backend.to_str())
        return _HFTokenizer.from_str(json.dumps({**settings, "post_processor": None}))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a run of tokens; bytes that are not UTF-8 by themselves show as U+FFFD."""
        return str(self.backend.decode([int(i) for i in ids], skip_special_tokens=False))

    @cached_property
    def token_strings(self) -> tuple[str, ...]:
        """Each token type alone as text; bytes that are no character by themselves are lone surrogates (PEP 383)."""
        alphabet = _byte_of_character()
        strings = []
        for token_id in range(self.d_vocab):
            token = self.backend.id_to_token(token_id) or f"<|{token_id}|>"
            if all(character in alphabet for character in token):
                raw = bytes(alphabet[character] for character in token)
                strings.append(raw.decode("utf-8", errors="surrogateescape"))
            else:
                strings.append(token)
        return tuple(strings)

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json``."""
        self.backend.save(str(as_path(path)))


def train_bpe(texts: Iterable[str], d_vocab: int = 4096) -> Tokenizer:
    """Train a byte-level BPE of ``d_vocab`` types, ``<|bos|>`` (id 0) among them.

    Raises
    ------
    CorpusError
        If ``d_vocab`` has no room for the 256 bytes and ``<|bos|>``.
    """
    if d_vocab < 257:
        raise CorpusError(f"d_vocab: expected at least 257 (256 bytes and {BOS}), found {d_vocab}")
    backend = _HFTokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(backend, bos_id=0)  # special tokens come first


def wrap_tokenizer(tokenizer: Any) -> Tokenizer:
    """A Hugging Face tokenizer that is in memory (``transformers.PreTrainedTokenizerFast``); it is copied.

    Blocks open with its ``bos_token``, or where it has none with ``cls_token`` or ``eos_token``.

    Raises
    ------
    CorpusError
        If it is not a fast one, or names none of these tokens.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise CorpusError(
            f"{type(tokenizer).__name__}: not a fast tokenizer, which only the tokenizers library reads; load it with "
            "AutoTokenizer.from_pretrained(..., use_fast=True)"
        )
    named = (getattr(tokenizer, f"{kind}_token_id", None) for kind in ("bos", "cls", "eos"))
    bos_id = next((i for i in named if i is not None), None)
    if bos_id is None:
        raise CorpusError(
            f"{type(tokenizer).__name__}: names no bos_token, cls_token or eos_token to open a block with"
        )
    copied = _HFTokenizer.from_str(backend.to_str())
    copied.no_truncation()
    copied.no_padding()
    return Tokenizer(copied, int(bos_id))


def load_tokenizer(source: str | Path) -> Tokenizer:
    """Load ``"starter"``, a ``tokenizer.json``, a folder that holds one, or a repository of the hub that does.

    Raises
    ------
    CorpusError
        If there is none, it cannot be parsed, or it names no token to open a document with.
    ModelError
        If it is to come from the hub, and neither that nor the local cache gives it.
    """
    file = tokenizer_file(source)
    if not file.is_file():
        raise CorpusError(f"{file}: no such file; expected a Hugging Face tokenizer.json or a folder with one")
    backend = read_backend(file)
    backend.no_truncation()
    backend.no_padding()
    names = (*_declared_bos(file.parent), *_BOS_NAMES)
    known = (backend.token_to_id(name) for name in names)
    bos_id: int | None = next((i for i in known if i is not None), None)
    if bos_id is None:
        raise CorpusError(f"{file}: names no token that opens a document; expected one of {', '.join(_BOS_NAMES)}")
    return Tokenizer(backend, bos_id)


def read_backend(file: Path) -> _HFTokenizer:
    """A ``tokenizer.json`` as its library reads it; raises CorpusError where it cannot."""
    try:
        return _HFTokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise CorpusError(f"{file}: not a tokenizer.json that the tokenizers library reads: {error}") from None


def tokenizer_file(source: str | Path) -> Path:
    """The ``tokenizer.json`` of a source of `load_tokenizer`, whether or not it is there."""
    if str(source) == "starter":
        return STARTER_TOKENIZER
    repo = repository(source)
    path = fetch_tokenizer(repo) if repo else as_path(source)
    return path / "tokenizer.json" if path.is_dir() else path


def _declared_bos(folder: Path) -> list[str]:
    """The ``bos_token`` of a Hugging Face ``tokenizer_config.json``, where there is one."""
    file = folder / "tokenizer_config.json"
    if not file.is_file():
        return []
    try:
        declared = json.loads(file.read_text(encoding="utf-8")).get("bos_token")
    except (json.JSONDecodeError, AttributeError) as error:
        raise CorpusError(f"{file}: not a JSON object: {error}") from None
    content = declared.get("content") if isinstance(declared, dict) else declared
    return [content] if isinstance(content, str) else []


def _byte_of_character() -> dict[str, int]:
    """GPT-2's byte-level alphabet: printable Latin-1 stands for itself, the other bytes start at U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}
