"""What each installation weighs, and how soon it is ready from a cold start.

    python tests/bench/install.py [--extras plain hub report train all] [--features FOLDER] [--torch 'torch==2.13.0']

Builds the wheel, installs it with each set of extras into an environment of its own, and measures there

- MB of site-packages without pip: as pip leaves it (with bytecode), and without bytecode (as uv leaves it);
- the largest distributions;
- seconds of ``import universality``, and of the names that open and match stores;
- seconds until two small stores are matched: in the first process ever, which compiles, and in a later one;
- with ``--features``, the features of a run of configs/quickstart.yaml: seconds to open and match its largest stores.

Every time is that of a new process: wall seconds, and processor seconds in brackets. Packages come from where pip
finds them. ``--torch`` pins the build of PyTorch, since an unpinned one may bring gigabytes of CUDA.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from clean_environment import build_wheel

TIMED = """
import sys, time
begin, used = time.perf_counter(), time.process_time()
def lap(name):
    global begin, used
    wall, processor = time.perf_counter() - begin, time.process_time() - used
    print(f"{name} {wall:.2f} ({processor:.2f})", end="; ")
    begin, used = time.perf_counter(), time.process_time()
import universality
lap("import universality")
from universality import FeatureStore, Similarity, match
lap("names")
stores = [FeatureStore.open(path) for path in sys.argv[1:]]
lap("open")
match(Similarity.activation(*stores))
lap("match")
print(f"all {time.perf_counter() - start:.2f} ({time.process_time():.2f})")
"""
PLANT = """
import sys
from pathlib import Path
from universality.statistics.synthetic import World, plant
plant(World(), Path(sys.argv[1]))
"""


def install(wheel: Path, extras: str, folder: Path, torch: str) -> Path:
    """Install a wheel with extras into a new environment; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    wanted = [str(wheel)] if extras == "plain" else [f"{wheel}[{extras}]"]
    if {"train", "all"} & set(extras.split(",")):
        wanted.append(torch)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools", "pip"], check=True)
    return python


def megabytes(folder: Path, bytecode: bool = True) -> float:
    """Size of all files below a folder, in MB of a million bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files if bytecode or path.suffix != ".pyc") / 1e6


def largest(packages: Path, n: int = 8) -> str:
    """The largest entries of site-packages, libraries beside a package counted with it."""
    sizes: dict[str, float] = {}
    for entry in packages.iterdir():
        name = entry.name.removesuffix(".libs")
        sizes[name] = sizes.get(name, 0) + (megabytes(entry) if entry.is_dir() else entry.stat().st_size / 1e6)
    chosen = sorted(sizes.items(), key=lambda item: -item[1])[:n]
    return ", ".join(f"{name} {size:.0f}" for name, size in chosen)


def timed(python: Path, *stores: Path) -> str:
    """Seconds of each step, in a new process outside the clone."""
    script = f"import time; start = time.perf_counter()\n{TIMED}"
    command = [python, "-c", script, *stores]
    return subprocess.run(command, cwd=python.parent, check=True, capture_output=True, text=True).stdout.strip()


def measure(wheel: Path, extras: str, folder: Path, args: argparse.Namespace) -> None:
    """Print the size of one installation and its seconds."""
    python = install(wheel, extras, folder, args.torch)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    print(f"\n{extras}: {megabytes(packages):.0f} MB, {megabytes(packages, bytecode=False):.0f} MB without bytecode")
    print(f"  {largest(packages)}", flush=True)
    subprocess.run([python, "-c", PLANT, folder / "world"], cwd=folder, check=True)
    for cache in packages.glob("universality/**/*.nb[ic]"):  # planting has compiled some functions
        cache.unlink()
    small = [folder / "world" / name for name in ("a.h5", "b.h5")]
    for name, stores in {"first process ever": small, "later process": small}.items():
        print(f"  {name}: {timed(python, *stores)}", flush=True)
    if args.features:
        print(f"  quickstart: {timed(python, *(args.features / f'{m}.w2048-s0.h5' for m in 'AB'))}", flush=True)
    shutil.rmtree(folder)


def main() -> None:
    """Measure every installation asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", nargs="+", default=["plain"])
    parser.add_argument("--features", type=lambda path: Path(path).resolve())  # the measured process runs elsewhere
    parser.add_argument("--torch", default="torch")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder) / "wheel")
        print(f"wheel: {wheel.stat().st_size / 1e6:.0f} MB")
        for extras in args.extras:
            measure(wheel, extras, Path(folder) / extras.replace(",", "-"), args)


if __name__ == "__main__":
    main()
