"""Which documents a model was trained on: recorded beside it, and counted among those that a study holds out.

A document is known by its content, whatever its name: the hash of its token ids. A file ``training_documents.npz`` in
the model's folder holds the hashes and which tokenizer's ids they are of; it goes wherever the folder is copied.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.corpus.blocks import TokenBlocks
from universality.errors import FormatError
from universality.files import replacing

FILE = "training_documents.npz"
_FORMAT, _VERSION = "universality-training-documents", 1


@dataclass(frozen=True, eq=False)
class TrainingDocuments:
    """The documents that a model was trained on.

    Parameters
    ----------
    hashes
        uint64 [n_documents], rising, as `document_hashes` has them; equal documents once.
    tokenizer_hash
        Of the tokenizer whose ids were hashed ("" for ids that came tokenised).
    corpus_hash
        Of the token blocks that they are a part of.
    """

    hashes: NDArray[np.uint64]
    tokenizer_hash: str
    corpus_hash: str

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def of(cls, blocks: TokenBlocks) -> "TrainingDocuments":
        """The documents of the split ``train``."""
        hashes = np.unique(document_hashes(blocks.select("train")))
        return cls(hashes, blocks.tokenizer_hash, blocks.hash)

    def count_in(self, blocks: TokenBlocks) -> int | None:
        """How many documents of these blocks are among them; None where the ids are another tokenizer's."""
        if blocks.tokenizer_hash != self.tokenizer_hash:
            return None
        return int(np.isin(document_hashes(blocks), self.hashes).sum())

    def save(self, folder: str | Path) -> Path:
        """Write them into a model's folder, whole or not at all; returns the file."""
        header = {"format": _FORMAT, "version": _VERSION, "tokenizer_hash": self.tokenizer_hash}
        coded = json.dumps(header | {"corpus_hash": self.corpus_hash}, sort_keys=True).encode()
        target = Path(folder) / FILE
        with replacing(target) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, header=np.frombuffer(coded, np.uint8), hashes=self.hashes)
        return target

    @classmethod
    def load(cls, folder: str | Path) -> "TrainingDocuments | None":
        """Those of a model's folder; None where they were not recorded.

        Raises
        ------
        FormatError
            If the record is truncated, damaged or of another version.
        """
        path = Path(folder) / FILE
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                header: dict[str, Any] = json.loads(file["header"].tobytes())
                hashes = file["hashes"]
        except FileNotFoundError:
            return None
        except Exception as error:  # zipfile, numpy and json each raise their own
            raise FormatError(
                f"{path}: not a record of training documents, or a damaged one: {error}; delete it, and the documents "
                "count as unknown"
            ) from None
        if (header.get("format"), header.get("version")) != (_FORMAT, _VERSION):
            raise FormatError(
                f"{path}: expected {_FORMAT} version {_VERSION}, found {header.get('format')!r} version "
                f"{header.get('version')!r}"
            )
        return cls(hashes, header["tokenizer_hash"], header["corpus_hash"])


def document_hashes(blocks: TokenBlocks) -> NDArray[np.uint64]:
    """[n_documents] the first 8 bytes of the sha256 of each document's token ids, in the order of the documents.

    BOS and padding do not count, so blocks of any length give the same; documents without blocks here are left out.
    """
    order = np.argsort(blocks.document, kind="stable")  # a document's blocks stand in the order of its text
    tokens = blocks.tokens[order][blocks.valid[order]].astype("<i4")
    sizes = np.bincount(blocks.document, blocks.length - 1).astype(np.int64)
    ends = np.cumsum(sizes[sizes > 0])
    starts = ends - sizes[sizes > 0]
    digests = (hashlib.sha256(tokens[a:b].tobytes()).digest()[:8] for a, b in zip(starts, ends, strict=True))
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def known_documents(folder: Path, corpus_hash: object, blocks: TokenBlocks) -> TrainingDocuments | None:
    """Those recorded in a model's folder, or those of these blocks where it was trained on them; None if unknown."""
    recorded = TrainingDocuments.load(folder)
    return TrainingDocuments.of(blocks) if recorded is None and corpus_hash == blocks.hash else recorded
