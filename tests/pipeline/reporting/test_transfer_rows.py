"""Transfer and specificity of explanations in the report and the explorer: there where they were measured."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_run import read_data

from universality.archive import read_archive, write_archive
from universality.labels.label_transfer import FORMAT, VERSION
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.stages import write_report
from universality.pipeline.stored_labels import measured_files


@pytest.fixture
def page(labelled_page: Path) -> Path:
    return labelled_page


def body_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return text[text.index("</style>") : text.rindex("<script>")]


def test_the_page_answers_the_question(page: Path) -> None:
    body = body_of(page)
    assert '<a href="#transfer">Do explanations carry over?</a>' in body
    summary = json.loads(page.with_name("summary.json").read_text())["transfer"]
    rows = {row["pairing"]: row for row in summary["pairings"]}
    assert rows["equal density"]["loss"] == pytest.approx(0.3)
    assert rows["partner"]["loss"] == pytest.approx(rows["second seed of A"]["loss"])
    (chance,) = summary["over_chance"]
    kept = chance["partner"] / chance["own"]
    assert f"keep {kept:.0%} of their advantage" in body
    assert "its partner in a second SAE of A" in body
    assert "What its explanation says is there" not in body
    assert "what its explanation says is there 75% of the time" in body
    assert "3 refused" in body or "6 refused" in body
    assert summary["unusable"] == {"refused": 6}  # of transfer, and of one side's specificity
    assert {(row["side"], row["by"]) for row in summary["specificity"]} == {
        ("A", "explanation"), ("A", "other explanation"),
    }  # fmt: skip
    assert (page.parent.parent / "figures" / "label_transfer.svg").is_file()
    table = page.parent.parent / "figures" / "tables" / "label_transfer.csv"
    assert table.read_text().splitlines()[0] == "score,pairing,r,effect_r,loss"


def test_pairs_have_their_scores(page: Path, labelled: Any) -> None:
    (index,) = read_data(page, "index")["comparisons"]
    transfer = read_data(page, "comparisons/A-B.w24/label-transfer")
    assert index["transfer"] is True
    assert transfer["main"] == "detection"
    assert sorted(transfer["scores"]["detection"]) == ["high", "low", "others_own", "own", "score"]


def test_without_it_there_is_no_section(planted: Any, explored: Path) -> None:
    assert "Do explanations carry over?" not in body_of(explored)
    assert not measured_files(planted[1])


def test_files_are_inputs_of_the_report_and_stale_ones_are_not_shown(labelled: Any, tmp_path: Path) -> None:
    config, original = labelled
    shutil.copytree(original.root, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    (file,) = (path for path in measured_files(folder) if path.name.endswith(".transfer.npz"))
    (concepts,) = (path for path in measured_files(folder) if path.name.endswith(".literature.json"))
    concepts.write_text(json.dumps(json.loads(concepts.read_text()) | {"stores": {"A": "0"}}))
    before = write_report.tasks(config, folder)[0].settings
    header, arrays = read_archive(file, FORMAT, VERSION)
    header["provenance"]["explainer"] = {"name": "another"}
    write_archive(file, FORMAT, VERSION, header, {name: np.asarray(array) for name, array in arrays.items()})
    assert write_report.tasks(config, folder)[0].settings != before
    page = report_as_it_is(folder.root)
    assert "Do explanations carry over?" not in body_of(page)
    assert "Reported in the literature" not in body_of(page)
    assert not list((page.parent / "data").rglob("label-transfer.js"))
    assert not (folder.root / "figures" / "label_transfer.svg").exists()
