"""Whether a loaded model means by each token id what the corpus means by it."""

from pathlib import Path

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
