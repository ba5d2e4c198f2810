"""State of an installation: versions, devices, memory, disk, the hub, and what is missing for which feature.

A library of an extra that is not installed is a choice, and reported with the command that installs it. A library that
is installed and cannot be imported is broken, as is a folder that cannot be written to: `Finding.broken` marks them.
"""

import importlib
import os
import platform
import shutil
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from universality import __version__
from universality.extras import EXTRAS, install_command

_PLAIN = {
    "annotated_types": "annotated-types",
    "h5py": "h5py",
    "networkx": "networkx",
    "numba": "numba",
    "numpy": "numpy",
    "pandas": "pandas",
    "pydantic": "pydantic",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "tqdm": "tqdm",
    "typer": "typer",
    "yaml": "pyyaml",
}
"""Name in ``import`` → name for pip of the dependencies of a plain installation, as in `pyproject.toml`."""
_TIMEOUT = 3.0  # seconds that the hub has to answer
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Parameters
    ----------
    section, text
        The heading that it stands under, and the line.
    broken
        Whether a plain study cannot run for this reason.
    """

    section: str
    text: str
    broken: bool = False


def examine(folder: Path) -> Iterator[Finding]:
    """Examine the installation and the machine; reading the libraries takes some seconds.

    Parameters
    ----------
    folder
        Folder in which runs would be made.
    """
    yield Finding("versions", f"universality {__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield from _libraries()
    yield from _devices()
    yield from _disk(folder)
    yield _hub()
    yield from _features()


def _libraries() -> Iterator[Finding]:
    """Import every library: one that is installed may still be broken, as by another version of what it needs."""
    libraries = _PLAIN | {library: name for extra in EXTRAS for library, name in extra.libraries.items()}
    for library, name in libraries.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ImportWarning)  # of a library on options of its own that are missing
                importlib.import_module(library)
        except ModuleNotFoundError as error:
            if error.name == library and library not in _PLAIN:
                continue  # `_features` reports it
            yield Finding("versions", f"{name}: cannot be imported: {error}", broken=True)
        except Exception as error:  # whatever a library's own code raises
            yield Finding("versions", f"{name} {_version(name)}: cannot be imported: {_first_line(error)}", broken=True)
        else:
            yield Finding("versions", f"{name} {_version(name)}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # importable without an installation, as from a folder on PYTHONPATH
        return "of unknown version"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _devices() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("devices", f"processor: {_processor()}, {usable} of {os.cpu_count()} threads usable{_threads()}")
    free, total = memory()
    yield Finding("devices", f"memory: {_gigabytes(free)} free of {_gigabytes(total)}")
    yield from _cards()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _threads() -> str:
    """Threads that the libraries would use, which environment variables may limit."""
    counts = []
    try:
        import numba

        counts.append(f"numba uses {numba.get_num_threads()}")
        import torch

        counts.append(f"torch uses {torch.get_num_threads()}")
    except Exception:  # missing or broken, which is reported elsewhere
        pass
    return "".join(f", {count}" for count in counts)


def memory() -> tuple[int | None, int | None]:
    """Return the bytes of memory that are free and in all; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        try:
            return None, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None, None
    kilobytes = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
    return kilobytes["MemAvailable"] * 1024, kilobytes["MemTotal"] * 1024


def _gigabytes(number: int | None) -> str:
    return "unknown" if number is None else f"{number / 1e9:,.1f} GB"


def _cards() -> Iterator[Finding]:
    try:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        for i, name in enumerate(names):
            free, total = torch.cuda.mem_get_info(i)
            yield Finding("devices", f"cuda:{i}: {name}, {_gigabytes(free)} free of {_gigabytes(total)}")
    except ModuleNotFoundError:
        yield Finding("devices", "CUDA: unknown without torch")
    except Exception as error:  # a driver that does not fit; a study still runs on the processor
        yield Finding("devices", f"CUDA: {_first_line(error)}")
    else:
        if not names:
            yield Finding("devices", "CUDA: no device")


def _disk(folder: Path) -> Iterator[Finding]:
    broken = not os.access(folder, os.W_OK)
    note = ", not writable: name another with --out" if broken else ""
    yield Finding("disk", f"{folder.resolve()}: {_gigabytes(shutil.disk_usage(folder).free)} free{note}", broken)
    for name, cache in (("hub cache", _hub_cache()), ("cache of compiled code", _compiled_cache())):
        if cache is not None:
            there = next(parent for parent in (cache, *cache.parents) if parent.exists())
            note = "" if os.access(there, os.W_OK) else ", not writable"
            yield Finding("disk", f"{name} {cache}: {_gigabytes(shutil.disk_usage(there).free)} free{note}")


def _hub_cache() -> Path:
    """Folder of downloads, by the rules of huggingface_hub."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser().absolute()


def _compiled_cache() -> Path | None:
    """Folder of code that numba has compiled; None where it finds none, or is broken."""
    try:
        from universality.features.storage.moments import add_placed

        return Path(add_placed.stats.cache_path).absolute() if add_placed.stats.cache_path else None
    except Exception:  # numba is missing or broken, which is reported elsewhere
        return None


def _hub() -> Finding:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    for name in _OFFLINE:
        if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}:
            return Finding("hub", f"{endpoint}: not asked, since {name} is set: only cached files are used")
    begin = time.monotonic()
    try:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError("HF_ENDPOINT must begin with http:// or https://")
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=_TIMEOUT):
            pass
    except urllib.error.HTTPError as error:  # an answer: mirrors need not have a page there
        if error.code >= 500:
            return Finding("hub", f"{endpoint}: answers with error {error.code}; only cached files can be used")
    except (OSError, ValueError) as error:  # URLError is an OSError
        return Finding(
            "hub", f"{endpoint}: not reachable ({getattr(error, 'reason', error)}); only cached files can be used"
        )
    return Finding("hub", f"{endpoint}: reached in {time.monotonic() - begin:.1f} s")


def _features() -> Iterator[Finding]:
    yield Finding("features", "stores, matching, statistics, families, export: installed")
    for extra in EXTRAS:
        state = "installed"
        if missing := extra.missing:
            names = ", ".join(extra.libraries[library] for library in missing)
            state = f"needs {names}: {install_command([extra.name])}"
        yield Finding("features", f"{extra.purpose}: {state}")


def report(findings: Iterable[Finding]) -> Iterator[str]:
    """Lay findings out as lines under their headings, as they come.

    Examples
    --------
    >>> list(report(iter([Finding("hub", "not reachable"), Finding("disk", "full", broken=True)])))
    ['hub', '  not reachable', 'disk', '! full']
    """
    section = ""
    for finding in findings:
        if finding.section != section:
            yield (section := finding.section)
        yield f"{'!' if finding.broken else ' '} {finding.text}"
