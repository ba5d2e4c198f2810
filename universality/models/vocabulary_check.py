"""Whether a loaded model means by each token id what the corpus means by it."""

from pathlib import Path

import numpy as np

from universality.corpus.blocks import TokenBlocks
from universality.corpus.tokenizer import Tokenizer, read_backend
from universality.errors import MismatchError


def check_vocabulary(name: str, folder: Path, tokenizer: Tokenizer) -> None:
    """Refuse a model whose folder holds a ``tokenizer.json`` of other tokens; without that file nothing is known.

    Two vocabularies of one size pass every check of shapes, and the model would read nonsense. The model may have
    more types than the corpus's tokenizer; merges are not compared.

    Parameters
    ----------
    name
        Of the model in the study.
    folder
        Where the model was loaded from.
    tokenizer
        Of the corpus.

    Raises
    ------
    MismatchError
        If a token id stands for another token; the first is shown.
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
    """Refuse token ids that came without a tokenizer and hold what the model's own says is no text.

    Parameters
    ----------
    name
        Of the model in the study.
    folder
        Where the model was loaded from; without a ``tokenizer.json`` there nothing is known.
    blocks
        Of a corpus of token ids.

    Raises
    ------
    MismatchError
        If a special token counts as text, with how often each does.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    tokenizer = Tokenizer(read_backend(file), int(blocks.tokens[0, 0]))
    ids, times = np.unique(blocks.tokens[blocks.valid], return_counts=True)
    special = np.isin(ids, tokenizer.special_ids)
    if special.any():
        found = ", ".join(
            f"{i} ({tokenizer.token_strings[i]}) {n:,} times" for i, n in zip(ids[special], times[special], strict=True)
        )
        raise MismatchError(
            f"model {name!r}: its tokenizer.json says that these token ids stand for no text: {found}; name them in "
            "corpus.special_ids, and none is counted"
        )
