"""Overlap of a study's held-out documents with the documents that its models were trained on."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from universality.files import write_json
from universality.hub import cached_folder, repository
from universality.pipeline.paths import RunFolder

if TYPE_CHECKING:
    from universality.corpus import TokenBlocks


def note_overlap(folder: RunFolder, name: str, source: Path, corpus_hash: object, blocks: "TokenBlocks") -> Path:
    """Record how many held-out documents a model was trained on, and warn of any; return the file.

    Parameters
    ----------
    folder, name
        The run's folder, and the model's name in it.
    source
        The model's own folder, which may hold a record of its training documents.
    corpus_hash
        Hash of the blocks that the model was trained on; None if unknown.
    blocks
        Blocks of the study, in the model's tokens.
    """
    from universality.models.training_documents import known_documents

    held_out, trained_on = blocks.select("choose", "report"), known_documents(source, corpus_hash, blocks)
    n, seen = len(np.unique(held_out.document)), None if trained_on is None else trained_on.count_in(held_out)
    if seen:
        print(f"warning: {seen_in_training(name, n, seen)}", file=sys.stderr)
    write_json(folder.overlap(name), {"held_out": n, "seen": seen})
    return folder.overlap(name)


def seen_in_training(name: str, held_out: int | None, seen: int | None) -> str:
    """State the overlap in numbers, or that it is not known, in a sentence without a full stop."""
    if held_out is None or seen is None:
        return f"it is not known which documents model {name} was trained on"
    return f"{seen:,} of {held_out:,} held-out documents were among those that model {name} was trained on"


def unrecorded(sources: Mapping[str, str]) -> list[str]:
    """List the models whose folders hold no record of training documents; nothing is downloaded."""
    from universality.models.shipped import model_folder
    from universality.models.training_documents import FILE

    folders = {
        name: cached_folder(repo) if (repo := repository(source)) else model_folder(source)
        for name, source in sources.items()
    }
    return [name for name, folder in folders.items() if folder is None or not (folder / FILE).is_file()]
