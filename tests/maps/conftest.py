"""Two planted worlds whose maps several tests look at."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from universality.maps import JointMap, joint_map
from universality.statistics.synthetic import Planted, World, plant

WORLD = World(n_documents=60, n_shared=60, n_alone=30, density=(0.01, 0.04), topic_share=1.0)


class Mapped(NamedTuple):
    """A planted world and its map."""

    planted: Planted
    map: JointMap


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapped]:
    """60 shared features, and 30 of each side that the other lacks."""
    planted = plant(WORLD, tmp_path_factory.mktemp("mapped"))
    yield Mapped(planted, joint_map(planted.a, planted.b))
    planted.a.close()
    planted.b.close()
