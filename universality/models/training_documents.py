"""Record of the documents that a model was trained on, to count them among the held-out documents of a study.

A document is identified by the hash of its token ids, whatever its name. The file ``training_documents.npz`` in the
model's folder holds these hashes and the hash of the tokenizer, and is copied along with the folder.
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
    """Hashes of the documents that a model was trained on.

    Parameters
    ----------
    hashes
        uint64 [n_documents], unique values of `document_hashes` in increasing order.
    tokenizer_hash
        Hash of the tokenizer that produced the ids ("" for arrays that were tokenised elsewhere).
    corpus_hash
        Hash of the whole corpus.
    """

    hashes: NDArray[np.uint64]
    tokenizer_hash: str
    corpus_hash: str

    def __len__(self) -> int:
        return len(self.hashes)

    @classmethod
    def of(cls, blocks: TokenBlocks) -> "TrainingDocuments":
        """Hash the documents of the split ``train``."""
        hashes = np.unique(document_hashes(blocks.select("train")))
        return cls(hashes, blocks.tokenizer_hash, blocks.hash)

    def count_in(self, blocks: TokenBlocks) -> int | None:
        """Count training documents among those of ``blocks``; None if the ids are another tokenizer's."""
        if blocks.tokenizer_hash != self.tokenizer_hash:
            return None
        return int(np.isin(document_hashes(blocks), self.hashes).sum())

    def save(self, folder: str | Path) -> Path:
        """Write the record into a model's folder atomically; return its path."""
        header = {"format": _FORMAT, "version": _VERSION, "tokenizer_hash": self.tokenizer_hash}
        coded = json.dumps(header | {"corpus_hash": self.corpus_hash}, sort_keys=True).encode()
        target = Path(folder) / FILE
        with replacing(target) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, header=np.frombuffer(coded, np.uint8), hashes=self.hashes)
        return target

    @classmethod
    def load(cls, folder: str | Path) -> "TrainingDocuments | None":
        """Read the record in a model's folder; None if there is none.

        Raises
        ------
        FormatError
            If the record is truncated, corrupt or of another version.
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
                f"{path}: not a record of training documents, or corrupt: {error}; delete it, and the documents "
                "count as unknown"
            ) from None
        if (header.get("format"), header.get("version")) != (_FORMAT, _VERSION):
            raise FormatError(
                f"{path}: expected {_FORMAT} version {_VERSION}, found {header.get('format')!r} version "
                f"{header.get('version')!r}"
            )
        return cls(hashes, header["tokenizer_hash"], header["corpus_hash"])


def document_hashes(blocks: TokenBlocks) -> NDArray[np.uint64]:
    """Return the first 8 bytes of the sha256 of each document's token ids, uint64 [n_documents], in document order.

    BOS and padding do not count, so the hash does not depend on ``n_ctx``. Documents without blocks are left out.
    """
    order = np.argsort(blocks.document, kind="stable")  # stable: a document's blocks stay in the order of its text
    tokens = blocks.tokens[order][blocks.valid[order]].astype("<i4")
    sizes = np.bincount(blocks.document, blocks.length - 1).astype(np.int64)
    ends = np.cumsum(sizes[sizes > 0])
    starts = ends - sizes[sizes > 0]
    digests = (hashlib.sha256(tokens[a:b].tobytes()).digest()[:8] for a, b in zip(starts, ends, strict=True))
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def known_documents(folder: Path, corpus_hash: object, blocks: TokenBlocks) -> TrainingDocuments | None:
    """Return the recorded training documents, or those of ``blocks`` if the model was trained on them; else None."""
    recorded = TrainingDocuments.load(folder)
    return TrainingDocuments.of(blocks) if recorded is None and corpus_hash == blocks.hash else recorded
