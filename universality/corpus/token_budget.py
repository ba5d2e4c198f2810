"""A number of tokens after which reading stops."""

from collections.abc import Iterable, Iterator, Sequence

from universality.corpus.passage import Passage
from universality.corpus.tokenizer import Tokenizer
from universality.errors import CorpusError

BYTES_PER_TOKEN = 4
"""UTF-8 bytes that are counted as one token where no tokenizer is at hand: the usual rule of thumb for English."""


def within_budget(
    passages: Iterable[Passage], max_tokens: int | None, tokenizers: Sequence[Tokenizer] = ()
) -> Iterator[Passage]:
    """Yield passages until they hold ``max_tokens`` tokens; the last one is kept whole.

    Parameters
    ----------
    max_tokens
        Tokens to reach; None for no limit.
    tokenizers
        Tokenizers that count; of several, the largest count of a passage is taken, so no model reads many more tokens.
        Without any, a token is four UTF-8 bytes.

    Raises
    ------
    CorpusError
        If ``max_tokens`` is below 1.
    """
    if max_tokens is not None and max_tokens < 1:
        raise CorpusError(f"max_tokens: expected at least 1, found {max_tokens}")
    n_tokens = 0
    for passage in passages:
        yield passage
        if max_tokens is None:
            continue
        n_tokens += _count(passage.text, tokenizers)
        if n_tokens >= max_tokens:
            return


def _count(text: str, tokenizers: Sequence[Tokenizer]) -> int:
    if not tokenizers:
        return -(-len(text.encode()) // BYTES_PER_TOKEN)
    return max(len(tokenizer.encode([text])[0]) for tokenizer in tokenizers)
