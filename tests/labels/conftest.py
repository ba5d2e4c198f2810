"""What tests share: the planted store, and a real server with a real model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labels.chat_model import save_chat_model, transformers_serve
from tests.labels.planted import planted_store
from universality.features import FeatureStore


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    with planted_store(tmp_path_factory.mktemp("labels") / "planted.h5") as opened:
        yield opened


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny chat model of transformers."""
    return save_chat_model(tmp_path_factory.mktemp("chat") / "tiny")


@pytest.fixture(scope="session")
def server(chat_folder: Path) -> Iterator[str]:
    """Address of ``transformers serve`` with that model."""
    with transformers_serve(chat_folder) as address:
        yield address
