"""What was measured of a store's features on an earlier visit."""

from pathlib import Path

import numpy as np
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.archive import write_archive
from universality.features import FeatureStore
from universality.features.descriptions import Described
from universality.pipeline.open_stores import FORMAT, VERSION, OpenStores, about_file


def test_tokens_recorded_by_largest_activation_are_measured_anew(tmp_path: Path) -> None:
    path, n = tmp_path / "a.h5", 12
    writer = FeatureStore.create(path, 1, {})
    token = np.where(np.arange(n) < 9, 1, 2)
    x = np.where(token == 1, 1.0, 2.0).astype(np.float32)[:, None]  # 2 is stronger, 1 has more mass
    place = np.arange(n)
    writer.append(sparse.csr_matrix(x), token=token, document=place * 0, position=place + 1, kind=np.full(n, "k"))
    with writer.finish() as store:
        kinds, contents = Described.measure(store).specificity, store.content_hash()
    recorded = {"kind_tokens": kinds.kind_tokens, "mass": kinds.mass, "firings": kinds.firings}
    for version, first in ((VERSION - 1, 1), (VERSION, 2)):  # one of this version is taken as it is
        arrays = {"tokens": np.array([[2, 1, -1, -1, -1, -1, -1, -1]], np.int32), **recorded}
        write_archive(about_file(path), FORMAT, version, {"contents": contents}, arrays)
        with OpenStores() as stores:
            assert_array_equal(stores.described(path).tokens[0, 0], first)
