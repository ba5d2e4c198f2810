"""The notebooks of the documentation run in Jupyter's kernel, and are stored as they were executed."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebooks import FOLDER, METADATA, NOTEBOOKS, WIDGET, execute, tidied
from snippets import ROOT
from test_snippets import stand_in

SMALL: dict[str, dict[str, Any]] = {
    "your_two_models": {"STEPS": 3, "TOKENS": 20_000, "PASSAGES": 60},
    "saes_from_elsewhere": {"PASSAGES": 240},
}
"""Parameters for a machine that runs a notebook only to see that it works."""
PLACES = re.compile(r"""(?<![\w.<])/(?:home|root|tmp|usr|work|opt|Users|var|private|mnt)/|[A-Z]:\\\\|file://""")
"""Folders of one machine."""
LARGEST = 300_000
LARGEST_PICTURE = 60_000
"""Bytes of a notebook, and of one of its pictures."""


def stored(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def check_stored(notebook: NotebookNode) -> None:
    """Check that a notebook was executed in order, shows results, and holds nothing of the machine that ran it."""
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert notebook == tidied(notebook)
    shown = outputs(notebook)
    kinds = {kind for output in shown for kind in output.get("data", ())}
    assert {"text/html", "image/png"} <= kinds
    assert not [output for output in shown if output.output_type == "error" or output.get("name") == "stderr"]
    text = nbformat.writes(notebook)
    assert "Warning" not in text
    assert not PLACES.search(text)
    assert not re.search(r"\d\d:\d\d:\d\d|\b20\d\d-\d\d-\d\d", text)
    assert len(text.encode()) <= LARGEST
    assert max(len(output.data["image/png"]) for output in shown if "image/png" in output.get("data", ())) * 3 / 4 <= (
        LARGEST_PICTURE
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_as_it_was_executed(path: Path) -> None:
    check_stored(stored(path))


def spoilt(notebook: NotebookNode, how: str) -> NotebookNode:
    first = next(cell for cell in code_cells(notebook) if cell.outputs)
    if how == "not executed":
        first.execution_count = None
    elif how == "out of order":
        first.execution_count += 1
    elif how == "path":
        first.outputs.append(nbformat.v4.new_output("stream", text="saved to /home/someone/run"))
    elif how == "warning":
        first.outputs.append(nbformat.v4.new_output("stream", name="stderr", text="this is deprecated"))
    elif how == "progress bar":
        first.outputs.append(nbformat.v4.new_output("display_data", {WIDGET: {}, "text/plain": "  0%|  | 0/3"}))
    elif how == "environment":
        notebook.metadata["kernelspec"] = METADATA["kernelspec"] | {"display_name": "mine"}
    else:
        for cell in code_cells(notebook):
            cell.outputs = []
    return notebook


@pytest.mark.parametrize(
    "how", ["not executed", "out of order", "path", "warning", "progress bar", "environment", "no outputs"]
)
def test_the_check_of_stored_notebooks_can_fail(how: str) -> None:
    with pytest.raises(AssertionError):
        check_stored(spoilt(stored(NOTEBOOKS[0]), how))


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """Provide a copy of the notebooks' folder in a clone, where the smoke run has the names of the quickstart."""
    stand_in(finished, tmp_path / "runs" / "quickstart")
    os.symlink(ROOT / "tests", tmp_path / "tests")
    here = tmp_path / "docs" / "notebooks"
    here.mkdir(parents=True)
    return here


@pytest.mark.parametrize(
    "path",
    [
        # these two train or collect: about 25 processor seconds each
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SMALL else [])
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs(path: Path, folder: Path) -> None:
    small = SMALL.get(path.stem, {})
    if path.stem == "saes_from_elsewhere":  # the SAEs that stand in are of the models of their run
        small = small | {"MODELS": {name: f"../../runs/quickstart/models/{name}" for name in "AB"}}
    before = stored(path)
    unknown = [name for name in small if f"\n{name} = " not in "\n" + parameters_of(before)]
    assert not unknown, "the notebook has no such parameters"
    done = execute(before, folder, small)
    assert [kinds_of(cell) for cell in code_cells(tidied(done))] == [kinds_of(cell) for cell in code_cells(before)]


def parameters_of(notebook: NotebookNode) -> str:
    return "".join(cell.source for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", ()))


def kinds_of(cell: NotebookNode) -> set[str]:
    """Name what a cell shows: stdout, or the types of its contents; SAEs as small as the tests' are warned of."""
    kinds = {kind for output in cell.outputs for kind in output.get("data", {output.get("name"): None})}
    return kinds - {"stderr"}


def test_the_kernel_is_this_interpreter_and_parameters_replace_the_notebook_s(tmp_path: Path) -> None:
    cell = new_code_cell("import sys\nanswer = 1", metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[cell, new_markdown_cell("text"), new_code_cell("print(sys.executable, answer)")])
    done = execute(notebook, tmp_path, {"answer": 42})
    assert done.cells[2].outputs[0].text == f"{sys.executable} 42\n"
    assert notebook.cells[0].source == "import sys\nanswer = 1"


def test_a_broken_cell_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(new_notebook(cells=[new_code_cell("1 / 0")]), tmp_path)


def test_a_bar_of_progress_is_a_widget_that_is_not_stored(tmp_path: Path) -> None:
    loop = ["from universality.progress import progress", "for _ in progress(range(3), desc='loop'):", "    pass"]
    done = execute(new_notebook(cells=[new_code_cell("\n".join([*loop, "print('end')"]))]), tmp_path)
    (bar, end) = done.cells[0].outputs
    assert WIDGET in bar.data
    assert tidied(done).cells[0].outputs == [end]


def test_every_notebook_has_its_page() -> None:
    listed = re.findall(r": notebooks/(\w+)\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]
    assert FOLDER.is_dir()
    assert NOTEBOOKS


def test_a_page_shows_text_code_and_outputs(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    cell = new_code_cell("1 + 1", execution_count=1)
    table = {"text/html": '<table border="1" class="dataframe">\n\n  <tr></tr></table>', "text/plain": "table"}
    cell.outputs = [
        nbformat.v4.new_output("stream", text="two\n"),
        nbformat.v4.new_output("display_data", table),
        nbformat.v4.new_output("display_data", {"image/png": "QUJD\n", "text/plain": "<Axes>"}),
    ]
    path = tmp_path / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Title"), cell]), path)
    assert hooks.notebook_page(path).split("\n\n") == [
        "# Title",
        "[Notebook file](one.ipynb){download}",
        "```python\n1 + 1\n```",
        "```text\ntwo\n```",
        '<div class="output"><table><tr></tr></table></div>',
        '<img alt="Figure" src="data:image/png;base64,QUJD">\n',
    ]
    cell.execution_count = None
    nbformat.write(new_notebook(cells=[cell]), path)
    with pytest.raises(ValueError, match="cell 0 has not been executed; `make notebooks` does it"):
        hooks.notebook_page(path)
