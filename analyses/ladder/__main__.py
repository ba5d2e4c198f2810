"""Nine dictionary sizes, 512 to 131,072, of two models: is what they share a matter of size?

    python analyses/ladder [--runs runs/ladder] [--minutes 55] [--widths 512 1024 …] [--out analyses/results/ladder]

Prints first what each size may cost, then trains, matches and measures one after the other, each in a run of its own
(RUNS/w512, …), and stops after the given minutes. The same command goes on where it stopped. The tables and pictures of
the sizes that are finished are made at the end of each call; ``--tables`` makes nothing else.

Two sizes are trained on 10 million tokens besides, almost twice the text.

- quality.csv: explained variance on training and on held-out tokens, dead features, and whether held-out text was
  explained less well at the end than before: such a size is limited by the amount of text;
- shared.csv: how many features have a partner in the other model, beside two SAE seeds of one model, and do partners
  have the same effects?
- families.csv: what splits, merges and appears from each size to the next, whether it recurs in the other model, and
  whether features that appear have partners;
- concepts.csv: the number of features specific to a kind of text, by a rule that is applied to each half of the text;
- scaling.md: a law of the loss in width and steps, fitted to the small sizes and tested on the large ones.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from rungs import CONFIG, LADDER, LONGER, Rung, finished, plan
from tables import write_tables


def main() -> None:
    """Go on with the ladder, and write the tables of what is finished."""
    given = parsed()
    rungs = tuple(rung for rung in LADDER + LONGER if rung.width in given.widths)
    if not given.tables:
        costs = plan(rungs)
        print(costs.to_string(index=False, float_format="{:.1f}".format))
        print(f"in all {costs['hours'].sum():.1f} hours on this machine, within a factor of three\n", flush=True)
        climb(rungs, given.runs, time.monotonic() + 60 * given.minutes)
    done = tuple(rung for rung in rungs if finished(rung, given.runs))
    if len({rung.width for rung in done}) < 2:
        sys.exit(f"{given.runs}: {len(done)} of {len(rungs)} runs finished, the tables need two sizes; call this again")
    write_tables(done, given.runs, given.out)
    if len(done) < len(rungs):
        print(f"{len(done)} of {len(rungs)} runs are finished; the same command goes on")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    widths = [rung.width for rung in LADDER]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/ladder"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/ladder"), help="folder of the tables")
    parser.add_argument("--minutes", type=float, default=55, help="wall time after which to stop")
    parser.add_argument("--widths", type=int, nargs="+", default=widths, choices=widths, metavar="WIDTH")
    parser.add_argument("--tables", action="store_true", help="make the tables only")
    return parser.parse_args()


def climb(rungs: tuple[Rung, ...], root: Path, deadline: float) -> None:
    """Run one rung after the other until the deadline; a run that is stopped resumes in the next call."""
    for rung in rungs:
        if finished(rung, root):
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            return
        overrides = [part for override in rung.overrides() for part in ("--set", override)]
        folder = str(rung.folder(root).root)
        command = [sys.executable, "-m", "universality", "run", str(CONFIG), *overrides, "--out", folder]
        began = time.monotonic()
        try:
            subprocess.run(command, check=True, timeout=left)
        except subprocess.TimeoutExpired:  # the child was killed, from which a run resumes to the same bytes
            print(f"{folder}: stopped after {left / 60:.0f} minutes", flush=True)
            return
        print(f"{folder}: finished, {(time.monotonic() - began) / 60:.0f} minutes in this call", flush=True)


if __name__ == "__main__":
    main()
