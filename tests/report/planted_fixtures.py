"""Fixtures of a planted run, its copies with effects and with labels, and their pages."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from planted_run import plant, plant_effects, plant_labels, plant_maps, plant_transfer, write_explored_page

from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.report_pages import report_as_it_is


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(config, folder) of a run made by hand: stores, matches, families and maps, nothing else."""
    made = plant(tmp_path_factory.mktemp("planted") / "run", 60)
    (made[1].root / "maps").mkdir()
    plant_maps(*made)
    return made


@pytest.fixture(scope="session")
def explored(planted: Any) -> Path:
    """Page of the planted run, with explorer and unkind tokens."""
    return write_explored_page(*planted)


@pytest.fixture(scope="session")
def explored_effects(planted: Any, explored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same page of a run whose pairs' effects were measured."""
    config, folder = planted
    copy = RunFolder(tmp_path_factory.mktemp("effects") / "run")
    shutil.copytree(folder.root, copy.root)
    plant_effects(config, copy)
    return write_explored_page(config, copy)


@pytest.fixture(scope="session")
def labelled(planted: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(config, folder) of the same run with labels, hostile ones among them."""
    config, folder = planted
    copy = RunFolder(tmp_path_factory.mktemp("labelled") / "run")
    shutil.copytree(folder.root, copy.root, ignore=shutil.ignore_patterns("report", "figures"))
    plant_labels(config, copy)
    plant_transfer(config, copy)
    return config, copy


@pytest.fixture(scope="session")
def explored_labels(labelled: Any) -> Path:
    """The page of that run."""
    return write_explored_page(*labelled)


@pytest.fixture(scope="session")
def labelled_page(labelled: Any) -> Path:
    """The whole report of that run."""
    return report_as_it_is(labelled[1].root)
