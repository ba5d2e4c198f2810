from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from universality.archive import read_archive, write_archive
from universality.effects.jacobian import FORMAT, VERSION, MeanJacobian
from universality.effects.model_features import ModelFeatures
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features import FeatureStore


@pytest.fixture
def jacobian() -> MeanJacobian:
    return MeanJacobian(np.arange(6.0).reshape(2, 3), "0123", "blocks.0.hook_out", True, 10, "text")


def test_a_file_gives_it_back_and_tells_of_changes(jacobian: MeanJacobian, tmp_path: Path) -> None:
    path = jacobian.save(tmp_path / "j.npz")
    loaded = MeanJacobian.load(path)
    assert loaded.describe() == jacobian.describe()
    assert np.array_equal(loaded.matrix, jacobian.matrix)
    assert path.read_bytes() == jacobian.save(tmp_path / "again.npz").read_bytes()
    header, arrays = read_archive(path, FORMAT, VERSION)
    write_archive(path, FORMAT, VERSION, header, {"matrix": arrays["matrix"] + 1})
    with pytest.raises(FormatError, match="do not have the hash that it states"):
        MeanJacobian.load(path)
    write_archive(path, FORMAT, VERSION, header | {"colour": 1}, arrays)
    with pytest.raises(FormatError, match="not a whole universality-jacobian file"):
        MeanJacobian.load(path)


def test_a_store_finds_the_one_of_its_model_and_hook(features: ModelFeatures, jacobian: MeanJacobian) -> None:
    site = features.site
    ours = replace(jacobian, model=site.model_hash, hook=site.hook)
    path = ours.save_beside(features.store)
    assert path.parent == features.store.path.parent
    assert MeanJacobian.beside(features.store).hash == ours.hash
    jacobian.save(path)
    with pytest.raises(FormatError, match=r"is of blocks\.0\.hook_out of model 0123, expected"):
        MeanJacobian.beside(features.store)
    path.unlink()
    with pytest.raises(MismatchError, match=r"are written at blocks\.0\.hook_out of model"):
        jacobian.save_beside(features.store)


def test_a_store_without_a_recorded_model_finds_none(tmp_path: Path) -> None:
    store = FeatureStore.from_csr(
        sparse.eye_array(3, format="csr"), tmp_path / "a.h5", [1, 2, 3], position=[0, 0, 0], special_tokens=()
    )
    with store, pytest.raises(UniversalityError, match="provenance does not record model and hook"):
        MeanJacobian.beside(store)


def test_bad_matrices(jacobian: MeanJacobian) -> None:
    with pytest.raises(FormatError, match=r"found shape \[6\]"):
        replace(jacobian, matrix=np.zeros(6))
    with pytest.raises(FormatError, match="with NaN or infinity"):
        replace(jacobian, matrix=np.full((2, 3), np.nan))
    with pytest.raises(MismatchError, match=r"expected decoder rows \[n, 2\], found \[4, 5\]"):
        jacobian.apply(np.zeros((4, 5)))
