"""Shipped configurations are found by name from any folder, and a file comes before a name."""

from pathlib import Path

import pytest

from universality.config import load_config
from universality.errors import ConfigError
from universality.shipped_configs import FOLDER, find_config, shipped_names

CLONE = Path(__file__).parents[1]


def test_the_shipped_ones_are_those_at_the_top_of_the_repository() -> None:
    assert FOLDER.resolve() == CLONE / "configs"
    assert [f"{name}.yaml" for name in shipped_names()] == sorted(p.name for p in (CLONE / "configs").iterdir())
    assert {"quickstart", "smoke"} <= set(shipped_names())


def test_a_name_works_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in shipped_names():
        assert load_config(name) == load_config(CLONE / "configs" / f"{name}.yaml")


def test_a_file_comes_before_a_name_and_a_name_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("smoke").mkdir()
    assert find_config(Path("smoke")) == FOLDER / "smoke.yaml"
    Path("quickstart").write_text("name: mine\nmodels: {load: {A: starter/seed0}}\n")
    assert load_config("quickstart").name == "mine"


def test_relative_paths_are_those_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config("smollm2").models.load == {"SmolLM2": "smollm2/"}  # which the user unpacks here


@pytest.mark.parametrize("given", ["quickstrat", "configs/quickstart.yaml", "quickstart.yml"])
def test_the_nearest_name_is_given(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"did you mean quickstart\? Shipped are base_instruct, .*two_layers$"):
        find_config(Path(given))


def test_a_name_far_from_all_lists_them() -> None:
    with pytest.raises(ConfigError, match=r"^xyz: neither a file nor a shipped configuration; shipped are base_in"):
        find_config(Path("xyz"))
