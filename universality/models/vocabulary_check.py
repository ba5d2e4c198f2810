"""Checks that a loaded model and the corpus mean the same tokens by the same ids."""

from pathlib import Path

import numpy as np

from universality.corpus.blocks import TokenBlocks
from universality.corpus.tokenizer import Tokenizer, read_backend
from universality.errors import MismatchError


def check_vocabulary(name: str, folder: Path, tokenizer: Tokenizer) -> None:
    """Refuse a model whose ``tokenizer.json`` assigns other tokens to ids; without that file, accept it.

    Two vocabularies of equal size pass every check of shapes, and the model would read nonsense. The model may have
    more types than the corpus's tokenizer. Merges are not compared.

    Parameters
    ----------
    name
        Name of the model in the study.
    folder
        Folder that the model was loaded from.
    tokenizer
        Tokenizer of the corpus.

    Raises
    ------
    MismatchError
        If an id stands for different tokens; the first such id is shown.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    theirs, ours = read_backend(file), tokenizer.backend
    wrong = [i for i in range(tokenizer.d_vocab) if theirs.id_to_token(i) != ours.id_to_token(i)]
    if wrong:
        first = wrong[0]
        raise MismatchError(
            f"model {name!r} reads other tokens than corpus.tokenizer makes: {len(wrong):,} of {tokenizer.d_vocab:,} "
            f"ids differ; {first} is {theirs.id_to_token(first)!r} in {file} and {ours.id_to_token(first)!r} in the "
            f"corpus. Set corpus.tokenizer to {file}; or set models.tokenizers to own, and each model reads the "
            "same text with its own"
        )


def check_special(name: str, folder: Path, blocks: TokenBlocks) -> None:
    """Refuse untokenised corpora in which ids count as text that are special in the model's tokenizer.

    Parameters
    ----------
    name
        Name of the model in the study.
    folder
        Folder that the model was loaded from; without a ``tokenizer.json`` in it, nothing is checked.
    blocks
        Blocks of a corpus that was given as token ids.

    Raises
    ------
    MismatchError
        If special tokens count as text; says how often each occurs.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    tokenizer = Tokenizer(read_backend(file), int(blocks.tokens[0, 0]))
    ids, times = np.unique(blocks.tokens[blocks.valid], return_counts=True)
    special = np.isin(ids, tokenizer.special_ids)
    if special.any():
        counts = ", ".join(
            f"{i} ({tokenizer.token_strings[i]}) {n:,} times" for i, n in zip(ids[special], times[special], strict=True)
        )
        raise MismatchError(
            f"model {name!r}: its tokenizer.json says that these token ids stand for no text: {counts}; name them in "
            "corpus.special_ids, and none is counted"
        )
