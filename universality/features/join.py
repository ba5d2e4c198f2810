"""One store from the shards that several processes collected."""

from collections.abc import Sequence
from pathlib import Path

from universality.errors import MismatchError
from universality.features.store import FeatureStore

ROWS = 65_536
"""Read at a time."""


def join_stores(shards: Sequence[str | Path], target: str | Path, overwrite: bool = False) -> None:
    """Write the rows of all shards, in their order, as one store; its contents are those of a store never cut.

    Parameters
    ----------
    shards
        Stores of the same features, of consecutive token blocks.

    Raises
    ------
    MismatchError
        If the shards are of different features, documents or weights.
    FileExistsError, FormatError
        As `FeatureStore.create` and `FeatureStore.open`.
    """
    with FeatureStore.open(shards[0]) as first:
        writer = FeatureStore.create(target, first.n_features, first.provenance, first.documents, overwrite)
        dictionary, unembedding, provenance, documents = (
            first.dictionary, first.unembedding(), first.provenance, first.documents,
        )  # fmt: skip
    try:
        for path in shards:
            with FeatureStore.open(path) as shard:
                if (shard.provenance, shard.documents) != (provenance, documents):
                    raise MismatchError(f"{path}: made from something else than {shards[0]}; shards of one store agree")
                tokens = shard.tokens
                for start in range(0, shard.n_tokens, ROWS):
                    part = slice(start, min(start + ROWS, shard.n_tokens))
                    writer.append(
                        shard.rows(part),
                        token=tokens.token[part],
                        document=tokens.document[part],
                        position=tokens.position[part],
                        kind=tokens.kind_names[part],
                    )
    except BaseException:
        writer.discard()
        raise
    writer.finish(dictionary, unembedding).close()
