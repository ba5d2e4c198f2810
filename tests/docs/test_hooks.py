"""Pages that are made from the program say what the program says, and included text fits its new place."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from snippets import ROOT

from universality.cli import app
from universality.config import Config, keys_of


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fields(section: type, hooks: ModuleType) -> list[str]:
    """Names of all keys that hold values."""
    found = []
    for name, field in keys_of(section).items():
        inner = hooks.section_of(field.annotation)
        found += fields(inner, hooks) if inner else []
        found += [] if inner and "dict" not in str(field.annotation) else [name]
    return found


def test_every_command_and_option_has_its_line(hooks: ModuleType) -> None:
    page = hooks.cli_page()
    for command in app.registered_commands:
        assert f"\n## {command.name or command.callback.__name__}\n" in page
    assert "| `--out PATH`, `-o PATH` | The run's folder." in page
    assert "| `--set KEY=VALUE` | Override a key" in page
    assert "| `--verify` | Read everything" in page
    assert "Some of pdf,svg,png. Default: `pdf,svg,png`." in page


def test_every_key_has_its_line(hooks: ModuleType) -> None:
    page = hooks.configuration_page()
    keys = fields(Config, hooks)
    assert {"name", "hook", "source", "load", "init", "widths", "min_coverage"} < set(keys)
    assert sorted(line.split("`")[1] for line in page.splitlines() if line.startswith("| `")) == sorted(keys)
    assert "| `n_ctx` | integer, at least 2 | `128` | Positions of a block, BOS included. |" in page
    assert "| `k` | integer or list of integers | `32` |" in page
    assert "| `init` | integer, at least 0 | required |" in page
    assert "| `data_parallel` | true or false | `false` |" in page


def test_what_is_included_ends_where_its_section_ends(hooks: ModuleType) -> None:
    section = hooks.included("README.md", "Quick start")
    assert section.startswith("Python 3.11 or newer")
    assert "## " not in section
    assert hooks.included("universality/features/storage/FORMAT.md").startswith("# Feature store, format")
    assert hooks.on_page_markdown("<!-- include: README.md # Quick start -->\nx") == f"{section}\nx"
    assert hooks.on_page_markdown("![a](../analyses/results/x/a.png)") == "![a](results/x/a.png)"
    with pytest.raises(ValueError, match=r"README\.md: no heading 'Nowhere'"):
        hooks.included("README.md", "Nowhere")


def test_links_of_included_text_lead_to_pages_and_pictures_or_nowhere(
    hooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = hooks.included("README.md", "What you get")
    assert "](results/quickstart/best_match.png)" in text
    assert "[format](format.md)" in text
    assert "](analyses" not in text
    text = "# A\n[one](docs/models.md#which-hook) [two](analyses/a.py) ![](analyses/results/x/a.png)\n"
    (tmp_path / "A.md").write_text(text)
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    assert hooks.included("A.md") == "# A\n[one](models.md#which-hook) two ![](results/x/a.png)"
    (tmp_path / "analyses").mkdir()
    (tmp_path / "analyses" / "B.md").write_text("[one](../docs/models.md) [two](a.py) [three](results/README.md#x)")
    assert hooks.included("analyses/B.md") == "[one](models.md) two [three](findings.md#x)"


def test_a_page_that_leaves_out_an_exported_name_is_refused(hooks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        names = hooks.exports(ROOT / "universality" / page.stem / "__init__.py") if page.stem != "index" else []
        shown = "".join(f'<h2 id="universality.{page.stem}.{name}">' for name in names)
        (tmp_path / "api" / f"{page.stem}.html").write_text(shown)
    hooks.on_post_build(SimpleNamespace(site_dir=tmp_path))
    matching = tmp_path / "api" / "matching.html"
    matching.write_text(matching.read_text().replace("matching.match_many", "matching.match.something"))
    with pytest.raises(ValueError, match=r"docs/api/matching\.md does not show match_many"):
        hooks.on_post_build(SimpleNamespace(site_dir=tmp_path))


def test_equations_become_mathml(hooks: ModuleType) -> None:
    pytest.importorskip("latex2mathml", reason="latex2mathml is not installed; `make docs` brings it")
    marked = r'<div class="arithmatex">\[a &lt; \sqrt{b}\]</div> and <span class="arithmatex">\(c\)</span>'
    drawn = hooks.on_page_content(marked)
    assert drawn.count("<math ") == 2
    assert "<msqrt>" in drawn
    assert 'alttext="a &lt; \\sqrt{b}"' in drawn
    assert "arithmatex" not in drawn
    with pytest.raises(ValueError, match=r"\\unheard is not understood"):
        hooks.mathml(r"a \unheard b", block=False)


def test_code_of_the_gallery_runs_and_its_figures_stand_beneath_it(hooks: ModuleType) -> None:
    setup, drawing = "```python\nfrom matplotlib import pyplot\n```", "```python\n_ = pyplot.subplots()\n```"
    before, after = hooks.with_figures(f"{setup}\nmore\n{drawing}\nend").split("more")
    assert before == f"{setup}\n"
    assert re.fullmatch(rf'\n{re.escape(drawing)}\n\n<img alt="[^"]+" src="data:image/png;base64,[^"]+">\nend', after)
    with pytest.raises(ZeroDivisionError):
        hooks.with_figures("```python\n1 / 0\n```")
