import json
from pathlib import Path

import pytest

from universality.errors import UniversalityError
from universality.pipeline.task import Task, hash_inputs, read_stamp, run_tasks


class Kitchen:
    """Tasks that write what they read, and count how often they are made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, []

    def tasks(self, flour: str = "wheat", oven: int = 200) -> list[Task]:
        return [
            Task("dough", flour, (), lambda: self.write("dough", flour)),
            Task("bread/loaf", oven, ("dough",), lambda: self.write("bread/loaf", self.read("dough") + str(oven))),
        ]

    def write(self, name: str, text: str) -> list[Path]:
        self.made.append(name)
        path = self.folder / f"{name.replace('/', '.')}.txt"
        path.write_text(text)
        return [path]

    def read(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()

    def run(self, **changes) -> list[str]:
        self.made = []
        run_tasks(self.tasks(**changes), self.folder, lambda outcome: None)
        return self.made


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def test_second_run_makes_nothing(kitchen) -> None:
    assert kitchen.run() == ["dough", "bread/loaf"]
    assert kitchen.run() == []


def test_only_what_depends_on_a_change_is_made_again(kitchen) -> None:
    kitchen.run()
    assert kitchen.run(oven=220) == ["bread/loaf"]
    assert kitchen.run(flour="rye", oven=220) == ["dough", "bread/loaf"]


def test_missing_or_cut_outputs_are_made_again_and_what_comes_out_the_same_stops_there(kitchen) -> None:
    kitchen.run()
    (kitchen.folder / "dough.txt").unlink()
    assert kitchen.run() == ["dough"]
    (kitchen.folder / "bread.loaf.txt").write_text("cut")
    assert kitchen.run() == ["bread/loaf"]


def test_a_failed_task_leaves_no_stamp(kitchen) -> None:
    def burn() -> list[Path]:
        raise RuntimeError("smoke")

    kitchen.run()
    with pytest.raises(RuntimeError, match="smoke"):
        run_tasks([Task("dough", "rye", (), burn)], kitchen.folder, lambda outcome: None)
    with pytest.raises(UniversalityError, match="dough has not been run here"):
        read_stamp(kitchen.folder, "dough")


def test_a_torn_stamp_is_named_and_made_again(kitchen) -> None:
    kitchen.run()
    stamp = kitchen.folder / ".done" / "dough.json"
    stamp.write_text(stamp.read_text()[:40])
    with pytest.raises(UniversalityError, match="a torn stamp; delete it"):
        read_stamp(kitchen.folder, "dough")
    assert kitchen.run() == ["dough"]


def test_stamps_record_hashes_and_settings(kitchen) -> None:
    kitchen.run()
    stamp = json.loads((kitchen.folder / ".done" / "bread.loaf.json").read_text())
    assert stamp["after"] == ["dough"]
    assert stamp["settings"] == 200
    assert set(stamp["outputs"]) == {"bread.loaf.txt"}


def test_inputs_are_hashed_by_content(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("1")
    before = hash_inputs([tmp_path / "d", tmp_path / "missing"])
    (tmp_path / "d" / "a").write_text("2")
    assert set(before) == {str(tmp_path / "d" / "a")}
    assert hash_inputs([tmp_path / "d"]) != before
