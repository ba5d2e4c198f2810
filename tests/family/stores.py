"""Writing dictionaries of the tests as stores."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import Dictionary


def write_into(
    folder: Path,
    name: str,
    x: npt.NDArray[np.float32],
    decoder: npt.NDArray[np.float32] | None,
    *,
    model: str = "m",
    site: str = "blocks.0.mlp.hook_post",
    token_seed: int = 0,
    quantity: str = "activation",
) -> FeatureStore:
    """Write one dictionary as a store; documents of 50 tokens, their kinds in turn k0, k1, k2."""
    place = np.arange(len(x))
    token = np.random.default_rng(token_seed).integers(0, 100, len(x))
    kind = np.array(["k0", "k1", "k2"])[place // 50 % 3]
    provenance = {"model": {"name": model, "hash": model * 8}, "site": site, "quantity": quantity}
    writer = FeatureStore.create(folder / f"{name}.h5", x.shape[1], provenance)
    writer.append(sparse.csr_matrix(x), token=token, document=place // 50, position=place % 50 + 1, kind=kind)
    return writer.finish(dictionary=None if decoder is None else Dictionary(decoder=decoder))
