"""Pages of runs that are finished, unfinished, or no runs at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from universality.errors import UniversalityError
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.report_pages import _files, report_as_it_is


def read(page: Path, name: str) -> Any:
    text = (page.parent / "data" / f"{name}.js").read_text(encoding="ascii")
    start, end = f'universality.add("{name}",', ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def test_a_stopped_run_shows_what_is_there_and_says_what_is_missing(planted: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(planted[1].root, run)
    shutil.rmtree(run / "families")
    (run / "matches" / "A-B.w24.activation.npz").unlink()
    text = report_as_it_is(run).read_text(encoding="utf-8")
    assert "This run is not finished" in text
    for missing in ("the matching A-B.w24", "the families of A", "the corpus", "the model A"):
        assert missing in text
    assert [side["width"] for side in read(run / "report" / "index.html", "index")["sides"]] == [16, 16]


def test_a_run_without_any_match_has_a_page_too(planted: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(planted[1].root, run, ignore=shutil.ignore_patterns("matches", "similarity", "report"))
    text = report_as_it_is(run).read_text(encoding="utf-8")
    assert "This run cannot answer the question" in text
    assert 'href="#explore/pairs"' not in text
    assert not (run / "report" / "data").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match=r"expected a run's folder, with config\.yaml in it"):
        report_as_it_is(tmp_path)


def test_files_are_linked_before_the_report_s_folder_exists(planted: Any, tmp_path: Path) -> None:
    config, finished = planted
    folder = RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run", ignore=shutil.ignore_patterns("report"))))
    (folder.root / "matches" / "A-B.w24.activation.csv").write_text("row,col\n", encoding="utf-8")
    paths = [link.path for link in _files(config, folder)]
    assert "../matches/A-B.w24.activation.csv" in paths
    assert "../matches/A-B.w24.activation.graphml" not in paths
