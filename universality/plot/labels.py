"""Names of features on axes: the tokens that they fire on, where a tokenizer is at hand, beside their indices."""

from __future__ import annotations

from collections.abc import Sequence

from universality.errors import CorpusError
from universality.features.examples import Decode
from universality.features.storage.store import FeatureStore
from universality.features.top_tokens import token_strings
from universality.plot.style import drawable
from universality.visible_tokens import visible

TOKENS_SHOWN = 2
_LEFT_TO_RIGHT = "\u200e"  # without this mark, an index before a Hebrew or Arabic token would be drawn behind it


def feature_labels(
    store: FeatureStore, features: Sequence[int], most: int, decode: Decode | None = None, k: int = TOKENS_SHOWN
) -> list[str]:
    """Label features by index and heaviest tokens; by index alone without a way to decode tokens.

    Parameters
    ----------
    store
        The features' store, in which they have the numbers 0 … n - 1: see
        `universality.features.select_features`.
    features
        [n] indices to show.
    most
        Greatest width of a label in letters n.
    decode
        Takes token ids and gives their strings; by default the tokenizer of the run that the store belongs to.
    k
        Tokens shown at most.
    """
    decode = decode or decoder_of_run(store)
    if decode is None:
        return [str(feature) for feature in features]
    tokens = token_strings(store, range(len(features)), k, decode)
    texts = [" ".join(visible(token, mark_spaces=True) for token in strings) for strings in tokens]
    return [_LEFT_TO_RIGHT + drawable(f"{j} {text}", most=most) for j, text in zip(features, texts, strict=True)]


def decoder_of_run(store: FeatureStore) -> Decode | None:
    """Return the decoder of the tokenizer in the run's folder; None if there is none with the store's tokens."""
    file = store.path.parent.parent / "corpus" / "tokenizer.json"
    wanted = store.provenance.get("tokenizer_hash")
    if wanted is None or not file.is_file():
        return None
    try:
        from universality.corpus.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(file)
    except (CorpusError, ImportError):  # a light installation reads no tokenizers
        return None
    if tokenizer.hash != wanted:  # with tokenizers of their own, the store's tokens are segments
        return None
    texts = tokenizer.token_texts
    return lambda ids: [texts[i] if 0 <= i < len(texts) else f"<|{i}|>" for i in ids]
