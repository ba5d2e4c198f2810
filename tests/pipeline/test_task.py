import errno
import json
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from killed_bakers import HALF, LOAVES, WHOLE, tasks

from universality.errors import FormatError, UniversalityError
from universality.pipeline import task
from universality.pipeline.task import Task, is_disk_full, read_stamp, run_tasks


class Kitchen:
    """Tasks that write what they read, and count how often they are made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made, self.said = folder, [], []

    def tasks(self, flour: str = "wheat", oven: int = 200, dough: int = 1, bread: int = 1) -> list[Task]:
        """``dough`` and ``bread`` are versions."""

        def bake() -> list[Path]:
            return self.write("bread/loaf", self.read("dough") + str(oven))

        return [
            Task("dough", flour, (), lambda: self.write("dough", flour), dough),
            Task("bread/loaf", oven, ("dough",), bake, bread),
        ]

    def write(self, name: str, text: str) -> list[Path]:
        self.made.append(name)
        path = self.folder / f"{name.replace('/', '.')}.txt"
        path.write_text(text)
        return [path]

    def read(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()

    def run(self, **changes) -> list[str]:
        self.made, self.said = [], []
        run_tasks(self.tasks(**changes), self.folder, lambda outcome: None, announce=self.said.append)
        return self.made


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kitchen:
    monkeypatch.setattr(task, "_release_memory", lambda cycles: None)  # takes up to a second among a suite's objects
    return Kitchen(tmp_path)


def test_second_run_makes_nothing(kitchen) -> None:
    assert kitchen.run() == ["dough", "bread/loaf"]
    assert kitchen.run() == []


def test_only_what_depends_on_a_change_is_made_again(kitchen) -> None:
    kitchen.run()
    assert kitchen.run(oven=220) == ["bread/loaf"]
    assert kitchen.run(flour="rye", oven=220) == ["dough", "bread/loaf"]


def test_what_is_made_again_is_named_with_the_reason(kitchen) -> None:
    kitchen.run()
    assert kitchen.said == []
    kitchen.run(oven=220)
    assert kitchen.said == ["made again, since its settings have changed: bread/loaf"]
    kitchen.run(oven=220, dough=2)
    assert kitchen.said == ["made again, since another version of universality made it: dough"]
    kitchen.run(flour="rye", oven=220, dough=2)
    assert kitchen.said[1:] == ["made again, since a file of its own or one that it reads has changed: bread/loaf"]


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


def test_a_truncated_stamp_is_named_and_made_again(kitchen) -> None:
    kitchen.run()
    stamp = kitchen.folder / ".done" / "dough.json"
    stamp.write_text(stamp.read_text()[:40])
    with pytest.raises(UniversalityError, match="a truncated stamp; delete it"):
        read_stamp(kitchen.folder, "dough")
    assert kitchen.run() == ["dough"]


def test_stamps_record_hashes_and_settings(kitchen) -> None:
    kitchen.run()
    stamp = json.loads((kitchen.folder / ".done" / "bread.loaf.json").read_text())
    assert stamp["after"] == ["dough"]
    assert stamp["settings"] == 200
    assert set(stamp["outputs"]) == {"bread.loaf.txt"}


def test_a_new_version_of_a_stage_makes_it_again_and_what_comes_out_the_same_stops_there(
    kitchen,
) -> None:
    kitchen.run()
    assert kitchen.run(dough=2) == ["dough"]
    assert read_stamp(kitchen.folder, "dough")["version"] == 2
    assert kitchen.run(dough=2) == []
    assert kitchen.run(dough=2, bread=3) == ["bread/loaf"]


def test_stamps_of_before_there_were_versions_hold_as_version_1(kitchen) -> None:
    kitchen.run()
    path = kitchen.folder / ".done" / "dough.json"
    stamp = json.loads(path.read_text())
    for name in ("version", "made_by", "platform"):
        del stamp[name]
    path.write_text(json.dumps(stamp))
    assert kitchen.run() == []
    assert kitchen.run(dough=2) == ["dough"]


def test_each_stamp_says_which_packages_made_it(kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    kitchen.run()
    later = {"numpy": "99"}
    monkeypatch.setattr(task, "package_versions", lambda: later)
    assert kitchen.run(oven=220) == ["bread/loaf"]
    assert read_stamp(kitchen.folder, "bread/loaf")["made_by"] == later
    assert read_stamp(kitchen.folder, "dough")["made_by"]["numpy"] == np.__version__


def test_a_full_disk_says_what_to_do_and_the_same_command_goes_on(kitchen) -> None:
    def overflow() -> list[Path]:
        try:
            Path("/dev/full").write_text("dough")
        except OSError as error:
            raise RuntimeError("a library's own error") from error
        return []

    def run(make) -> None:
        run_tasks([Task("dough", 1, (), make)], kitchen.folder, lambda outcome: None)

    with pytest.raises(
        UniversalityError, match=r"the disk filled up while dough was being made\. Free space there"
    ) as e:
        run(overflow)
    assert str(kitchen.folder) in str(e.value)
    with pytest.raises(UniversalityError, match="has not been run here"):
        read_stamp(kitchen.folder, "dough")
    run(lambda: kitchen.write("dough", "x"))
    assert read_stamp(kitchen.folder, "dough")["outputs"].keys() == {"dough.txt"}


def test_only_a_full_disk_is_called_one() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, "x"))
    assert is_disk_full(OSError("file write failed: errno = 28, error message = 'No space left on device'"))  # HDF5's
    assert not is_disk_full(PermissionError(errno.EACCES, "x"))
    assert not is_disk_full(RuntimeError("x"))


def test_a_damaged_file_of_an_earlier_task_is_to_be_deleted_and_a_foreign_one_is_not(kitchen) -> None:
    kitchen.run()
    source = kitchen.folder.parent / "yeast.txt"

    def bake(read: Path) -> list[Path]:
        raise FormatError(f"{read}: torn")

    def run(read: Path) -> None:
        tasks = [*kitchen.tasks()[:1], Task("bread/loaf", 1, ("dough",), lambda: bake(read))]
        run_tasks(tasks, kitchen.folder, lambda outcome: None)

    dough = kitchen.folder / "dough.txt"
    message = (
        f"{dough}: torn\n{dough} was made by this run and has been damaged since: delete it and run the same command"
    )
    with pytest.raises(FormatError, match=re.escape(message)):
        run(dough)
    with pytest.raises(FormatError, match=r"yeast\.txt: torn$"):
        run(source)
    dough.unlink()
    assert kitchen.run() == ["dough", "bread/loaf"]


class Rank:
    """One of several processes, here threads, which meet at a barrier."""

    def __init__(self, rank: int, meeting: threading.Barrier, said: list[object]) -> None:
        self.rank, self.size, self.first = rank, meeting.parties, rank == 0
        self.meeting, self.said = meeting, said

    def wait(self) -> None:
        self.meeting.wait(timeout=30)

    def broadcast(self, value: object) -> object:
        if self.first:
            self.said[:] = [value]
        self.wait()
        value = self.said[0]
        self.wait()
        return value


def test_processes_divide_tasks_of_a_stage_that_do_not_come_after_each_other(kitchen, tmp_path: Path) -> None:
    """Rolls are baked by three processes in turn, two at the same time; the basket comes after them."""
    made, reported = [], []
    together = threading.Barrier(2)

    def bake(rank: int, name: str) -> list[Path]:
        if name in ("bread/0", "bread/1"):
            together.wait(timeout=30)  # breaks unless another process bakes now
        made.append((rank, name))
        return kitchen.write(name, "crumb")

    def tasks(rank: int) -> list[Task]:
        rolls = [f"bread/{i}" for i in range(4)]
        return [
            Task("dough", 0, (), partial(bake, rank, "dough")),
            *(Task(name, 0, ("dough",), partial(bake, rank, name)) for name in rolls),
            Task("bread/basket", 0, rolls, partial(bake, rank, "bread/basket")),
        ]

    def run(rank: int, meeting: threading.Barrier, said: list[object]) -> None:
        report = (
            (lambda outcome: reported.append((outcome.name, outcome.skipped))) if rank == 0 else lambda outcome: None
        )
        run_tasks(tasks(rank), tmp_path, report, Rank(rank, meeting, said))

    for expected in (
        [(0, "bread/0"), (0, "bread/3"), (0, "bread/basket"), (0, "dough"), (1, "bread/1"), (2, "bread/2")],
        [],
    ):
        made.clear()
        reported.clear()
        meeting, said = threading.Barrier(3), []
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda rank, m=meeting, s=said: run(rank, m, s), range(3)))
        assert sorted(made) == expected
        assert {name for name, _ in reported} == {task.name for task in tasks(0)}
        assert all(skipped != bool(expected) for _, skipped in reported)
    assert read_stamp(tmp_path, "bread/1")["task"] == "bread/1"


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_tasks_of_killed_processes_are_made_by_any_number_of_others(
    processes: int, killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "_release_memory", lambda cycles: None)
    folder = shutil.copytree(killed, tmp_path / "kitchen")
    assert {(folder / f"bread.{i}.txt").read_text() for i in (3, 4)} == {HALF}
    made: list[str] = []
    meeting, said = threading.Barrier(processes), []

    def run(rank: int) -> None:
        run_tasks(tasks(folder, made), folder, lambda outcome: None, Rank(rank, meeting, said))

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(run, range(processes)))
    assert sorted(made) == ["bread/3", "bread/4", "bread/basket"]
    assert {(folder / f"bread.{i}.txt").read_text() for i in range(LOAVES)} == {WHOLE}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that three processes leave which are killed while two of them make a task."""
    folder = tmp_path_factory.mktemp("killed")
    script = Path(__file__).with_name("killed_bakers.py")
    subprocess.run([sys.executable, script, folder], check=True, timeout=120)
    return folder
