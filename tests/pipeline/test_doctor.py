"""Findings of `universality doctor`: a hub on the loopback and an unreachable one, missing and broken libraries."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.hub_server import Hub, serve
from tests.test_extras import PROJECT, declared
from universality import cli
from universality.pipeline import doctor


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow the hub to be asked, whatever the tests' environment says, and take no proxy to the loopback."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve(Hub({"someone/tiny": {"config.json": b"{}"}})) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def lines(section: str) -> list[str]:
    return [finding.text for finding in doctor.examine(Path()) if finding.section == section]


def test_a_hub_that_answers_is_reached(hub: Hub) -> None:
    (line,) = lines("hub")
    assert line.startswith(f"{hub.address}: reached in 0.")
    assert [method for method, _, _ in hub.requests] == ["HEAD"]


def test_a_hub_that_does_not_answer_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        (line,) = lines("hub")
    assert line.startswith(f"{address}: not reachable (")
    assert line.endswith("refused); only cached files can be used")


def test_offline_mode_is_stated_and_nothing_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert lines("hub") == [f"{hub.address}: not asked, since HF_HUB_OFFLINE is set: only cached files are used"]
    assert hub.requests == []


def test_an_endpoint_that_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    assert lines("hub") == [
        "file:///etc: not reachable (HF_ENDPOINT must begin with http:// or https://); only cached files can be used"
    ]


def test_a_complete_installation_exits_with_0(hub: Hub) -> None:
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 0, done.output
    headings = [line for line in done.output.splitlines() if not line.startswith((" ", "!"))]
    assert headings == ["versions", "devices", "disk", "hub", "features"]
    assert "!" not in [line[0] for line in done.output.splitlines()]
    for text in (
        "torch 2",
        "transformer-lens ",
        "numba ",
        "threads usable, numba uses",
        "GB free of",
        "HTML report: i",
    ):
        assert text in done.output


def test_a_missing_extra_is_a_choice(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("torch", "matplotlib"):
        monkeypatch.setitem(sys.modules, library, None)
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 0
    assert (
        "figures, maps of features and the HTML report: needs matplotlib: pip install 'universality[report]'"
        in done.output
    )
    assert "needs torch: pip install 'universality[train]'" in done.output
    assert "CUDA: unknown without torch" in done.output


def test_a_library_that_cannot_be_imported_is_broken(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jinja2.py").write_text("raise ImportError('built for another Python\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jinja2", raising=False)
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 1
    broken = [line for line in done.output.splitlines() if line.startswith("!")]
    assert len(broken) == 1
    assert broken[0].endswith(": cannot be imported: built for another Python")


def test_a_plain_library_that_is_missing_is_broken(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    broken = [finding.text for finding in doctor.examine(Path()) if finding.broken]
    assert len(broken) == 1
    assert broken[0].startswith("networkx: cannot be imported: ")


def test_a_folder_that_cannot_be_written_to_is_broken(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    broken = [finding.text for finding in doctor.examine(tmp_path) if finding.broken]
    assert len(broken) == 1
    assert broken[0].endswith("GB free, not writable: name another with --out")


def test_the_hub_cache_follows_the_environment(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert any(line.startswith(f"hub cache {tmp_path}/home/hub: ") for line in lines("disk"))


def test_every_plain_dependency_is_examined() -> None:
    assert set(doctor._PLAIN.values()) == declared(PROJECT["dependencies"])


def test_memory_is_that_of_this_machine() -> None:
    free, total = doctor.memory()
    assert free is not None
    assert total is not None
    assert 0 < free < total
    assert total == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), rel=0.05)
