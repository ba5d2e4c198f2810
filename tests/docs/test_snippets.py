"""Every example of the documentation works: Python runs, YAML is accepted, commands exist, links resolve."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snippets import PAGES, ROOT, blocks, commands, run
from typer.main import get_command

import universality
from universality import __version__
from universality.cli import app
from universality.config import load_config, parse_config
from universality.pipeline.compare_models import prepare
from universality.sae.architectures import ARCHITECTURES

FORMATS = ROOT / "tests" / "sae" / "formats" / "data"
DOWNLOADS = {
    "saelens/blocks.3.hook_resid_post": "saelens_topk",
    "saelens/skip_transcoder": "saelens_skip_transcoder",
    "sparsify/layers.6.mlp": "sparsify_topk",
    "dictionary_learning/trainer_0": "dictionary_learning_batchtopk",
    "gemma-scope/layer_3/width_32/average_l0_9": "gemma_scope/layer_3/width_32/average_l0_9",
    "gemma-scope-2-270m-pt": "gemma_scope_2/gemma-scope-2-270m-pt",
    "SAE-Res-Qwen3-1.7B-Base-W32K-L0_5": "qwen_scope/SAE-Res-Qwen3-1.7B-Base-W32K-L0_5",
    "llamascopium/L3R": "llamascopium_jumprelu",
    "openai/autoencoder.pt": "openai_topk.pt",
}
WIDTHS = {512: 32, 1024: 64, 2048: 128}  # width in the quickstart → width in the smoke run that replaces it


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page.read_text(encoding="utf-8"), *languages)]


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """Forget the architectures that a page registers."""
    before = dict(ARCHITECTURES)
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)


@pytest.fixture
def desk(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a folder with everything that the examples name: a run, text, models, SAEs and downloads."""
    stand_in(finished, tmp_path / "runs" / "quickstart")
    shutil.copytree(finished, tmp_path / "runs" / "smoke", copy_function=os.link)
    os.link(finished / "features" / "A.w32-s0.h5", tmp_path / "a.h5")
    os.symlink(ROOT / "configs", tmp_path / "configs")
    for place, fixture in DOWNLOADS.items():
        (tmp_path / "downloads" / place).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(FORMATS / fixture, tmp_path / "downloads" / place)
    for kind in ("english", "verse"):
        (tmp_path / "my_text" / kind).mkdir(parents=True)
        for i in range(6):
            (tmp_path / "my_text" / kind / f"{i}.txt").write_text(f"{kind} {i}: the cat sat on the mat {i}. " * 30)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(universality, "compare", prepared_and_opened, raising=False)
    return tmp_path


def prepared_and_opened(*arguments: Any, **keywords: Any) -> universality.Study:
    """Prepare a comparison as `compare` does, and open the run that stands in for its result instead of running it."""
    prepare(*arguments, **keywords)
    return universality.Study.open("runs/quickstart")


def stand_in(finished: Path, folder: Path) -> None:
    """Link the smoke run under the names of the quickstart, which has other widths."""
    shutil.copytree(finished, folder, copy_function=os.link)
    for inner in ("features", "matches", "maps"):
        for path in sorted((folder / inner).iterdir()):
            for real, small in WIDTHS.items():
                if f".w{small}" in path.name:
                    os.link(path, path.with_name(path.name.replace(f".w{small}", f".w{real}")))
    for real, small in WIDTHS.items():
        for path in sorted((folder / "saes").glob(f"*/w{small}-*")):
            os.symlink(path, path.with_name(path.name.replace(f"w{small}", f"w{real}")))


def save_small_model(folder: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=60, n_positions=32, n_embd=16, n_layer=2, n_head=2)).save_pretrained(folder)


def save_small_saes(folder: Path) -> None:
    import torch

    from universality.sae import SAESpec, SAETrainer

    sample = torch.randn(2000, 512, generator=torch.Generator().manual_seed(0)).relu()
    for seed, name in enumerate("AB"):
        SAETrainer(SAESpec(d_sae=64, k=8, seed=seed), sample, 1).finish().save(folder / name)


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_python_runs(page: Path, desk: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if "my_model" in text:
        save_small_model(desk / "my_model")
    if "my_saes" in text:
        save_small_saes(desk / "my_saes")
    names: dict[str, Any] = {"__name__": "page"}
    printed = []
    for block in blocks(text, "python"):
        printed.append(run(page, block, names))
        close_figures()
    assert any(printed) or "print(" not in text


def close_figures() -> None:
    """Close what a block drew, as the site does: matplotlib warns of more than 20 open figures."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("page", pages_with("yaml"), ids=name_of)
def test_yaml_is_accepted(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "yaml"):
        values = yaml.safe_load(block.text)
        assert parse_config({"models": {"load": {"A": "starter/seed0"}}} | values, where=f"{page}:{block.line}")


@pytest.mark.parametrize("page", pages_with("sh"), ids=name_of)
def test_commands_exist(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "sh"):
        for words in commands(block.text):
            check_command(words)


def check_command(words: list[str]) -> None:
    """Check that a command of ours gets valid arguments, and that any other command is a known one."""
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), words
    elif "universality" in words and words[0] in ("universality", "torchrun", "srun"):
        check_ours(words[words.index("universality") + 1 :])
    else:
        assert words[0] in ("dask", "hf", "pip", "source"), words


def check_ours(words: list[str]) -> None:
    command: Any = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    takes = {option: p for p in command.params if p.param_type_name == "option" for option in p.opts}
    given, arguments = [], []
    remaining = iter(words[1:])
    for word in remaining:
        if word.startswith("-"):
            assert word in takes, f"{words}: no option {word}"
            given.append((word, "" if takes[word].is_flag else next(remaining)))
        else:
            arguments.append(word)
    places = [p for p in command.params if p.param_type_name == "argument"]
    needed = sum(p.required for p in places)
    assert needed <= len(arguments) <= len(places) or any(p.nargs == -1 for p in places), words
    overrides = [value for option, value in given if option == "--set"]
    config = next((argument for argument in arguments if argument.startswith("configs/")), "configs/families.yaml")
    assert load_config(ROOT / config, overrides)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("universality runn configs/quickstart.yaml", KeyError),
        ("universality run configs/quickstart.yaml --to x", AssertionError),
        ("universality run", AssertionError),
        ("universality run configs/nowhere.yaml", ValueError),
        ("universality run configs/quickstart.yaml --set saes.kk=1", ValueError),
        ("make everything", AssertionError),
        ("python analyses/nothing.py", AssertionError),
        ("rm -rf runs", AssertionError),
    ],
)
def test_the_check_of_commands_can_fail(words: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_command(next(commands(words)))


def test_the_tutorial_shows_the_numbers_of_the_kept_run() -> None:
    headline = json.loads((ROOT / "analyses" / "results" / "quickstart" / "summary.json").read_text())["headline"]
    tutorial = (ROOT / "docs" / "tutorial.md").read_text()
    shown = re.findall(r"^  (\S.*?) +median ([\d.]+) +([\d,]+) of ([\d,]+) scored(.*)$", tutorial, re.M)
    expected = [
        (p["label"], f"{p['median']:.3f}", f"{p['n_scored']:,}", f"{p['n']:,}", _intervals(p))
        for p in headline["populations"]
    ]
    assert shown == expected


def _intervals(population: dict[str, Any]) -> str:
    if population["role"] == "null":
        return ""
    low, high, low_works, high_works = (population[key] for key in ("low", "high", "low_works", "high_works"))
    works = f"{low_works:.3f} to {high_works:.3f} over {population['n_works']:,} works"
    return f"   95%: {low:.3f} to {high:.3f} over features, {works}"


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    docs = ROOT / "docs"
    written = [page.relative_to(docs).as_posix() for page in PAGES if page.is_relative_to(docs)]
    generated = ["cli.md", "configuration.md", *(f"notebooks/{path.stem}.md" for path in docs.rglob("*.ipynb"))]
    assert sorted(listed) == sorted([*written, *generated])


def test_links_between_files_of_the_repository_resolve() -> None:
    results = (ROOT / "analyses" / "results").glob("**/README.md")
    for page in (*PAGES, *results):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
            generated = page.parent == ROOT / "docs" and target in ("cli.md", "configuration.md")
            assert generated or (page.parent / target).exists(), f"{page}: {target}"


def test_the_readme_can_be_read_in_two_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_the_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "authors", "message", "license", "abstract"} <= set(citation)
