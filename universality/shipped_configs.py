"""Configurations that come with the package: the files of ``configs/``, which ``universality run quickstart`` names."""

import difflib
from pathlib import Path

from universality.errors import ConfigError

_INSTALLED = Path(__file__).parent / "configs"
# The folder is a link to configs/ in a clone. Without links, as on Windows, that is where the files are.
FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "configs"


def shipped_names() -> list[str]:
    """List the names of the shipped configurations.

    Examples
    --------
    >>> "quickstart" in shipped_names()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_config(path: Path) -> Path:
    """Return the file of a configuration that is given by its path or by a shipped name; a file comes first.

    Parameters
    ----------
    path
        A YAML file or folder that exists, or a name such as ``quickstart``.

    Raises
    ------
    ConfigError
        If it is neither; lists the shipped names and the nearest one.

    Examples
    --------
    >>> find_config(Path("quickstart")).name
    'quickstart.yaml'
    """
    names = shipped_names()
    if not path.is_file() and str(path) in names:  # a bare name, also beside a run's folder of that name
        return FOLDER / f"{path}.yaml"
    if path.exists():
        return path
    near = difflib.get_close_matches(path.stem, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? Shipped" if near else "shipped"
    raise ConfigError(f"{path}: neither a file nor a shipped configuration; {hint} are {', '.join(names)}")
