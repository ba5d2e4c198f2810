"""Three processes that share tasks and are killed while two of them make one: python killed_bakers.py FOLDER.

Bread is baked in turn; the last two loaves are half written when the processes end.
"""

import json
import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from universality.pipeline.task import Task, run_tasks

LOAVES = 5
WHOLE, HALF = "crumb and crust", "crumb"


def tasks(folder: Path, made: list[str], stuck: tuple[str, ...] = ()) -> list[Task]:
    """Loaves that do not come after each other, and a basket for all of them."""

    def bake(name: str) -> list[Path]:
        path = folder / f"{name.replace('/', '.')}.txt"
        path.write_text(HALF if name in stuck else WHOLE)
        made.append(name)
        while name in stuck:
            time.sleep(0.01)
        return [path]

    loaves = [f"bread/{i}" for i in range(LOAVES)]
    after = {"dough": (), **dict.fromkeys(loaves, ("dough",)), "bread/basket": tuple(loaves)}
    return [Task(name, 0, before, partial(bake, name)) for name, before in after.items()]


class Rank:
    """One of several processes, which meet at a barrier and hear what the first writes."""

    def __init__(self, rank: int, meeting: "multiprocessing.synchronize.Barrier", said: Path) -> None:
        self.rank, self.size, self.first = rank, meeting.parties, rank == 0
        self.meeting, self.said = meeting, said

    def wait(self) -> None:
        self.meeting.wait(timeout=30)

    def broadcast(self, value: object) -> object:
        if self.first:
            self.said.write_text(json.dumps(value))
        self.wait()
        value = json.loads(self.said.read_text())
        self.wait()
        return value


def main(folder: Path) -> None:
    context = multiprocessing.get_context("fork")  # before this process has threads
    meeting, stuck = context.Barrier(3), ("bread/3", "bread/4")

    def run(rank: int) -> None:
        run_tasks(tasks(folder, [], stuck), folder, lambda outcome: None, Rank(rank, meeting, folder / "said.json"))

    processes = [context.Process(target=run, args=(rank,)) for rank in range(3)]
    for process in processes:
        process.start()
    begun = [folder / f"{name.replace('/', '.')}.txt" for name in stuck] + [folder / ".done" / "bread.2.json"]
    end = time.monotonic() + 30
    while not all(path.exists() and path.stat().st_size for path in begun) and time.monotonic() < end:
        time.sleep(0.005)
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    sys.exit({process.exitcode for process in processes} != {-signal.SIGKILL})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
