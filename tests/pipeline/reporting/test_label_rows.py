"""Labels in the report, in the explorer's data, in tables and in graphs: there where they were made, inert, and cut."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from planted_run import HOSTILE, read_data

from universality.export.result_tables import read_csv
from universality.labels import FeatureLabel, Score
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.label_rows import explored_label
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.stages import write_exports, write_report
from universality.pipeline.stages.write_exports import make_exports
from universality.pipeline.stored_labels import label_files

NAN = float("nan")


@pytest.fixture(scope="module")
def exported(labelled: Any) -> RunFolder:
    config, folder = labelled
    make_exports(config, folder)
    return folder


@pytest.fixture
def page(labelled_page: Path) -> Path:
    return labelled_page


def test_the_page_has_the_scores_and_the_labels_of_its_pairs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    body = text[text.index("</style>") : text.rindex("<script>")]
    assert "Explained by <bdi>planted</bdi>" in body
    assert "22 answered, 1 refused" in body
    assert "Explained: " in body
    assert "rhyme 9 of A 24</bdi> <small>detection 0.59, highest floor 0.50 (top tokens)</small>" in body
    assert "<img src" not in body.replace('<img src="data:', "")
    assert "x" * 201 not in body
    tables = json.loads(page.with_name("summary.json").read_text())["labels"]
    assert [(table["side"], table["outcomes"]) for table in tables] == [
        (name, {"answered": 22, "refused": 1}) for name in "AB"
    ]


def test_other_contents_of_a_store_hide_its_labels_and_the_page_says_so(labelled: Any, tmp_path: Path) -> None:
    shutil.copytree(labelled[1].root, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    for file in label_files(folder):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        header = json.loads(lines[0]) | {"store": "0" * 64}
        file.write_text(json.dumps(header) + "\n" + "".join(lines[1:]), encoding="utf-8")
    text = report_as_it_is(folder.root).read_text(encoding="utf-8")
    assert "A.w24-s0.jsonl" in text
    assert "made from features that have changed since" in text
    assert "rhyme" not in text
    assert "labels" not in read_data(folder.report, "index")


def test_without_labels_nothing_is_different(planted: Any, explored: Path) -> None:
    config, folder = planted
    assert "labels" not in read_data(explored, "index")
    assert not list((explored.parent / "data").glob("*label*"))
    assert write_exports.tasks(config, folder)[0].settings is None
    assert write_report.tasks(config, folder)[0].settings == config.name


def test_new_labels_make_the_tables_and_the_report_anew(labelled: Any) -> None:
    config, folder = labelled
    before = [stage.tasks(config, folder)[0].settings for stage in (write_exports, write_report)]
    file = label_files(folder)[0]
    content = file.read_bytes()
    file.write_bytes(content + b"\n{}")
    after = [stage.tasks(config, folder)[0].settings for stage in (write_exports, write_report)]
    file.write_bytes(content)
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_the_table_of_pairs_has_labels_scores_and_floors(exported: RunFolder) -> None:
    path = exported.root / "matches" / "A-B.w24.activation.csv"
    table = read_csv(path).set_index("row")
    assert table.loc[7, "label_a"] == "rhyme 7 of A 24"
    assert table.loc[7, ["label_detection_a", "label_detection_floor_a"]].tolist() == pytest.approx([0.57, 0.5])
    assert np.isnan(table.loc[6, "label_detection_a"])
    assert table.loc[[5, 6], "label_a"].tolist() == ["", ""]
    assert table.loc[0, "label_a"] == HOSTILE[0]
    assert len(table.loc[3, "label_a"]) == 200
    with path.open(encoding="utf-8", newline="") as file:
        cells = {row["row"]: row["label_a"] for row in csv.DictReader(file)}
    assert cells["2"].startswith("'=HYPERLINK(")  # no formula
    assert "\x00" not in cells["2"]


def test_graphs_have_labels_as_names_and_attributes(exported: RunFolder) -> None:
    base = exported.root / "matches" / "A-B.w24.activation"
    for suffix in (".graphml", ".gexf"):
        text = base.with_suffix(f".activation{suffix}").read_text(encoding="utf-8")
        assert "<script>" not in text
        ElementTree.fromstring(text)
    graph = nx.read_graphml(f"{base}.graphml")
    assert graph.nodes["a:7"]["label"] == "A/7: rhyme 7 of A 24"
    assert graph.nodes["b:7"]["explanation"] == "rhyme 7 of B 24"
    assert graph.nodes["a:7"]["label_detection"] == pytest.approx(0.57)
    assert graph.nodes["a:7"]["label_detection_floor"] == 0.5
    assert graph.nodes["a:5"]["label"].startswith("A/5:")
    assert "explanation" not in graph.nodes["a:5"]
    assert len(graph.nodes["a:3"]["label"]) < 100


def test_edges_of_families_have_the_labels_of_both_ends(exported: RunFolder) -> None:
    edges = read_csv(exported.root / "families" / "A.edges.csv")
    row = edges[(edges["parent"] == 8) & (edges["child"] == 8)].iloc[0]
    assert (row["parent_label"], row["child_label"]) == ("rhyme 8 of A 16", "rhyme 8 of A 24")
    assert row[["parent_label_detection", "parent_label_detection_floor"]].tolist() == pytest.approx([0.58, 0.5])
    assert row["child_label_detection"] == pytest.approx(0.58)
    unlabelled = edges[edges["child"] == 5].iloc[0]
    assert unlabelled["child_label"] == ""
    assert np.isnan(unlabelled["child_label_detection"])


def test_families_say_whether_a_split_makes_explanations_more_specific(page: Path) -> None:
    splits = json.loads(page.with_name("summary.json").read_text())["splits"]
    assert [table["model"] for table in splits] == ["A", "B"]
    rows = {row["parents"]: row for row in splits[0]["rows"]}
    # a child with its parent's number scores as the parent does, a second child, 15 further, 0.15 more
    assert rows["split"]["gain"] == pytest.approx(0.075)
    assert rows["not split"]["gain"] == pytest.approx(0)
    assert rows["difference"]["low"] > 0
    assert "Does a split make explanations more specific? Yes." in page.read_text(encoding="utf-8")


def test_what_the_page_of_a_pair_shows_of_a_label() -> None:
    label = FeatureLabel(
        1, "x" * 2000, "answered", logit_explanation="a\x00b",
        scores=(Score("detection", "top tokens", 0.5, NAN, NAN, 9), Score("simulation", "shuffled", NAN, NAN, NAN, 0)),
    )  # fmt: skip
    shown = explored_label(label)
    assert len(shown["text"]) == 1000
    assert shown["logits"] == "aU+0000b"
    assert shown["by"] == ["explanation", "top tokens", "shuffled"]
    assert shown["scores"] == [
        ["detection", [None, [0.5, None, None], None]],
        ["simulation", [None, None, [None, None, None]]],
    ]
