"""Tokenizers, trained here (byte-level BPE) or taken from a Hugging Face folder (any kind).

Only the ``tokenizers`` library is used. Of a model's folder this package reads ``tokenizer.json``, and where that does
not say which token opens a text, the small files beside it that may.
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

from universality.corpus.bos_token import declarations, declare_bos, find_bos
from universality.corpus.token_text import strings_of, texts_of
from universality.errors import CorpusError
from universality.files import as_path
from universality.hub import fetch_tokenizer, repository

BOS = "<|bos|>"
STARTER_TOKENIZER = Path(__file__).parent / "starter" / "tokenizer.json"


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

    @cached_property
    def d_vocab(self) -> int:
        """Largest id + 1, special tokens included; a vocabulary may have holes below it."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of tokens that stand for no text: BOS, end of text, padding and the like, rising.

        The token of unknown text is none of them where the tokenizer can meet text that it does not know.
        """
        special = {i for i, token in self.backend.get_added_tokens_decoder().items() if token.special}
        return tuple(sorted((special - self._unknown) | {self.bos_id}))

    @cached_property
    def _unknown(self) -> set[int]:
        model = self._settings["model"]
        every_byte = model.get("byte_fallback") or _mentions(self._settings, "ByteLevel")
        token = model.get("unk_token", model.get("unk_id"))
        found = self.backend.token_to_id(token) if isinstance(token, str) else token
        return set() if every_byte or found is None else {int(found)}

    @cached_property
    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads(self.backend.to_str())
        return settings

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
        return _HFTokenizer.from_str(json.dumps({**self._settings, "post_processor": None}))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a run of tokens; bytes that are not UTF-8 by themselves show as U+FFFD."""
        return str(self.backend.decode([int(i) for i in ids], skip_special_tokens=False))

    @cached_property
    def token_strings(self) -> tuple[str, ...]:
        """Each token type as its vocabulary names it, ``▁the`` or ``##ing``; ``<|7|>`` for an id that names none.

        Of byte-level vocabularies the text itself; bytes that are no character by themselves are lone surrogates
        (PEP 383).
        """
        return strings_of(self.backend, self.d_vocab, self._byte_level)

    @cached_property
    def token_texts(self) -> tuple[str, ...]:
        """Each token type as the text that it stands for inside a text: what reports, tables and graphs show."""
        return self.token_strings if self._byte_level else texts_of(self.backend, self.token_strings)

    @cached_property
    def _byte_level(self) -> bool:
        return _mentions(self._settings, "ByteLevel")

    def save(self, path: str | Path) -> list[Path]:
        """Write ``tokenizer.json``, and beside it which token opens a text where that file alone does not say so.

        Returns
        -------
        list of Path
            The files that `load_tokenizer` then reads.
        """
        path = as_path(path)
        self.backend.save(str(path))
        declared = declare_bos(path, self.backend, self.bos_id)
        return [path] if declared is None else [path, declared]


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
    return Tokenizer(backend, find_bos(file, backend))


def read_backend(file: Path) -> _HFTokenizer:
    """A ``tokenizer.json`` as its library reads it; raises CorpusError where it cannot."""
    try:
        return _HFTokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise CorpusError(f"{file}: not a tokenizer.json that the tokenizers library reads: {error}") from None


def tokenizer_files(source: str | Path) -> list[Path]:
    """The files that `load_tokenizer` reads of a source."""
    file = tokenizer_file(source)
    return [file, *declarations(file)]


def tokenizer_file(source: str | Path) -> Path:
    """The ``tokenizer.json`` of a source of `load_tokenizer`, whether or not it is there."""
    if str(source) == "starter":
        return STARTER_TOKENIZER
    repo = repository(source)
    path = fetch_tokenizer(repo) if repo else as_path(source)
    return path / "tokenizer.json" if path.is_dir() else path


def _mentions(settings: dict[str, Any], part: str) -> bool:
    """Whether a normalizer, pre-tokenizer or decoder is of this type, alone or in a sequence."""
    wanted = ("normalizer", "pre_tokenizer", "decoder")
    return f'"type": "{part}"' in json.dumps([settings.get(name) for name in wanted])
