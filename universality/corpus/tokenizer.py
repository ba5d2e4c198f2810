"""Tokenizers, trained here (byte-level BPE) or read from a Hugging Face folder (any algorithm).

Only the ``tokenizers`` library is used. From a model's folder this package reads ``tokenizer.json`` and, if that does
not declare the token that opens a text, the small files beside it (`universality.corpus.bos_token`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from universality.corpus.bos_token import declarations, declare_bos, find_bos
from universality.corpus.token_text import strings_of, texts_of
from universality.errors import CorpusError
from universality.extras import naming_extra
from universality.files import as_path
from universality.hub import fetch_tokenizer, repository

if TYPE_CHECKING:
    from tokenizers import Tokenizer as _HFTokenizer

BOS = "<|bos|>"
_BATCH = 256  # texts that are encoded at a time
STARTER_TOKENIZER = Path(__file__).parent / "starter" / "tokenizer.json"


@dataclass(frozen=True, eq=False)
class Tokenized:
    """Tokens of a text and their character spans.

    Attributes
    ----------
    ids : int32 [n]
        Token ids.
    start, end : int64 [n]
        Character offsets, end exclusive. Each token of a multi-byte character spans the whole character.
    """

    ids: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass(frozen=True)
class Tokenizer:
    """A ``tokenizers`` tokenizer and the token that opens every block.

    Examples
    --------
    >>> tokenizer = train_bpe(["the cat sat on the mat"] * 9, d_vocab=264)
    >>> ids = tokenizer.encode(["the hat"])[0]
    >>> tokenizer.decode(ids)
    'the hat'
    >>> tokenizer.token_texts[tokenizer.bos_id]
    '<|bos|>'
    """

    backend: _HFTokenizer
    """Object of the ``tokenizers`` library."""
    bos_id: int
    """Id of the token that opens a block."""

    @cached_property
    def d_vocab(self) -> int:
        """Largest id plus one, special tokens included; ids below it may be unused."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of tokens that stand for no text (BOS, end of text, padding and the like), in increasing order.

        The token for unknown text is not among them if the tokenizer can meet unknown text.
        """
        special = {i for i, token in self.backend.get_added_tokens_decoder().items() if token.special}
        return tuple(sorted((special - self._unknown) | {self.bos_id}))

    @cached_property
    def ids_without_text(self) -> tuple[int, ...]:
        """Ids that stand for no text of their own, in increasing order: special, unknown and unused ones."""
        unused = {i for i in range(self.d_vocab) if self.backend.id_to_token(i) is None}
        special = {i for i, token in self.backend.get_added_tokens_decoder().items() if token.special}
        return tuple(sorted(special | self._unknown | unused | {self.bos_id}))

    @cached_property
    def _unknown(self) -> set[int]:
        model = self._settings["model"]
        # A vocabulary with all 256 bytes never meets unknown text, so its unknown token is special like any other.
        every_byte = model.get("byte_fallback") or _mentions(self._settings, "ByteLevel")
        token = model.get("unk_token", model.get("unk_id"))
        token_id = self.backend.token_to_id(token) if isinstance(token, str) else token
        return set() if every_byte or token_id is None else {int(token_id)}

    @cached_property
    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads(self.backend.to_str())
        return settings

    @cached_property
    def hash(self) -> str:
        """Return the sha256 of the tokenizer's JSON."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_arrays(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the token ids of each text, as `encode` does, in 4 bytes a token: lists take some 36."""
        arrays: list[NDArray[np.int32]] = []
        for start in range(0, len(texts), _BATCH):  # an encoding also holds strings and offsets of its tokens
            arrays += (np.array(ids, np.int32) for ids in self.encode(texts[start : start + _BATCH]))
        return arrays

    def encode_with_spans(self, texts: Sequence[str]) -> list[Tokenized]:
        """Return the tokens of each text with their character spans, without special tokens."""
        tokenised = []
        for encoding in self._untrimmed.encode_batch(list(texts), add_special_tokens=False):
            span = np.array(encoding.offsets, np.int64).reshape(-1, 2)
            tokenised.append(Tokenized(np.array(encoding.ids, np.int32), span[:, 0], span[:, 1]))
        return tokenised

    @cached_property
    def _untrimmed(self) -> _HFTokenizer:
        """Copy without the post-processor, which adds special tokens and may trim spaces from offsets."""
        return type(self.backend).from_str(json.dumps({**self._settings, "post_processor": None}))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of a run of tokens; bytes that are not valid UTF-8 become U+FFFD."""
        return str(self.backend.decode([int(i) for i in ids], skip_special_tokens=False))

    @cached_property
    def token_strings(self) -> tuple[str, ...]:
        """Vocabulary string of each token type, such as ``▁the`` or ``##ing``; ``<|7|>`` for an unused id 7.

        For byte-level vocabularies the strings are text, and bytes that are no whole character become lone surrogates
        (PEP 383).
        """
        return strings_of(self.backend, self.d_vocab, self._byte_level)

    @cached_property
    def token_texts(self) -> tuple[str, ...]:
        """Text that each token type stands for, as reports, tables and graphs show it."""
        return self.token_strings if self._byte_level else texts_of(self.backend, self.token_strings)

    @cached_property
    def _byte_level(self) -> bool:
        return _mentions(self._settings, "ByteLevel")

    def save(self, path: str | Path) -> list[Path]:
        """Write ``tokenizer.json`` and, if it does not determine BOS, a small file beside it that does.

        Returns
        -------
        list of Path
            Files that `load_tokenizer` then reads.
        """
        path = as_path(path)
        self.backend.save(str(path))
        declared = declare_bos(path, self.backend, self.bos_id)
        return [path] if declared is None else [path, declared]


def train_bpe(texts: Iterable[str], d_vocab: int = 4096) -> Tokenizer:
    """Train a byte-level BPE of at most ``d_vocab`` types, including ``<|bos|>`` (id 0).

    Raises
    ------
    CorpusError
        If ``d_vocab`` has no room for the 256 bytes and ``<|bos|>``.
    """
    if d_vocab < 257:
        raise CorpusError(f"d_vocab: expected at least 257 (256 bytes and {BOS}), found {d_vocab}")
    with naming_extra("training a tokenizer"):
        from tokenizers import Tokenizer as _HFTokenizer
        from tokenizers import decoders, models, pre_tokenizers, trainers

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
    """Wrap a copy of a Hugging Face tokenizer in memory (``transformers.PreTrainedTokenizerFast``).

    Blocks open with its ``bos_token`` or, if it has none, with ``cls_token`` or ``eos_token``.

    Raises
    ------
    CorpusError
        If the tokenizer is not a fast one, or declares none of these tokens.
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
    copied = type(backend).from_str(backend.to_str())
    copied.no_truncation()
    copied.no_padding()
    return Tokenizer(copied, int(bos_id))


def load_tokenizer(source: str | Path) -> Tokenizer:
    """Load ``"starter"``, a ``tokenizer.json``, a folder that holds one, or a repository of the hub.

    Raises
    ------
    CorpusError
        If the file is missing, cannot be parsed, or determines no token to open a document with.
    ModelError
        If a repository is neither in the local cache nor available from the hub.
    """
    file = tokenizer_file(source)
    if not file.is_file():
        raise CorpusError(f"{file}: no such file; expected a Hugging Face tokenizer.json or a folder with one")
    backend = read_backend(file)
    backend.no_truncation()
    backend.no_padding()
    return Tokenizer(backend, find_bos(file, backend))


def read_backend(file: Path) -> _HFTokenizer:
    """Read a ``tokenizer.json`` with its library; raise CorpusError if that fails."""
    with naming_extra("reading a tokenizer"):
        from tokenizers import Tokenizer as _HFTokenizer

    try:
        return _HFTokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise CorpusError(f"{file}: not a tokenizer.json that the tokenizers library reads: {error}") from None


def tokenizer_files(source: str | Path) -> list[Path]:
    """List the files that `load_tokenizer` reads from a source."""
    file = tokenizer_file(source)
    return [file, *declarations(file)]


def tokenizer_file(source: str | Path) -> Path:
    """Return the path of a source's ``tokenizer.json``, whether or not it exists."""
    if str(source) == "starter":
        return STARTER_TOKENIZER
    repo = repository(source)
    path = fetch_tokenizer(repo) if repo else as_path(source)
    return path / "tokenizer.json" if path.is_dir() else path


def _mentions(settings: dict[str, Any], part: str) -> bool:
    """Return whether a normaliser, pre-tokeniser or decoder has this type, alone or in a sequence."""
    wanted = ("normalizer", "pre_tokenizer", "decoder")
    return f'"type": "{part}"' in json.dumps([settings.get(name) for name in wanted])
