"""The planted store, which tests share."""

from collections.abc import Iterator

import pytest

from tests.labels.planted import planted_store
from universality.features import FeatureStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    with planted_store(tmp_path_factory.mktemp("labels") / "planted.h5") as opened:
        yield opened
