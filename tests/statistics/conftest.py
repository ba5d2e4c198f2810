"""Makes the planted stores of tests/similarity importable, whatever pytest's import mode, and plants a loss."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.statistics.planted_loss import Planted

sys.path.append(str(Path(__file__).parents[1] / "similarity"))


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Planted]":
    """A model whose loss depends on ten of its neurons, with SAEs and stores."""
    from tests.statistics.planted_loss import plant

    made = plant(tmp_path_factory.mktemp("planted"))
    yield made
    for store in made.stores.values():
        store.close()
