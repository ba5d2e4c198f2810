"""Planted stores, a calibration of them, and figures that are closed."""

from collections.abc import Iterator

import matplotlib
import pytest

from universality.statistics import Calibration, calibrate
from universality.statistics.synthetic import Planted, World, plant

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    world = World(n_documents=60, n_shared=20, n_alone=20, density=(0.02, 0.05), topic_share=1.0)
    return plant(world, tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def calibration(planted: Planted) -> Calibration:
    return calibrate(planted.a, planted.b, replicates=3, bootstrap=0)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    from matplotlib import pyplot

    pyplot.close("all")
