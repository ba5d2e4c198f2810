"""Virtual environments without a network: links to some of the distributions that the tests themselves run with."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

CLONE = Path(__file__).parents[1]


def canonical(name: str) -> str:
    """A distribution's name as package indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def with_requirements(requirements: Iterable[str], without: Iterable[str] = ()) -> dict[str, Distribution]:
    """The distributions that requirements name, with all that these require, less those of ``without``."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonical(requirement.name)
        if name in without or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        try:
            found[name] = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed here; the test fails if it is needed
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in found[name].requires or ()]
    return found


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the sources in a folder, since building leaves files beside them."""
    copy = folder / "sources"
    copy.mkdir(parents=True)
    for name in ("universality", "configs"):
        shutil.copytree(CLONE / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CLONE / name, copy)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, copy], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(folder: Path, distributions: Iterable[Distribution]) -> Path:
    """Make an environment that sees exactly these distributions; return its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    inside = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    for dist in distributions:
        for top in {file.parts[0] for file in dist.files or ()} - {"..", "__pycache__"}:
            if not (inside / top).exists():
                (inside / top).symlink_to(Path(str(dist.locate_file(top))).resolve())
    return folder / "bin" / "python"


def install(wheel: Path, python: Path) -> None:
    """Install a wheel and nothing else into an environment."""
    options = ("--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *options, wheel], check=True)


def environment_variables() -> dict[str, str]:
    """Variables without those that would let other packages in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {
        "HF_HUB_OFFLINE": "1"
    }
