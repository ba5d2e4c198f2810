"""A run that has read a data set of the hub reads the same commit again."""

import json
from pathlib import Path

import pytest

from universality.config import Config, parse_config
from universality.corpus import build_corpus, write_texts
from universality.corpus.hub_texts import TextBudget, fetch_texts, hub_text
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.make_corpus import corpus_inputs, make_corpus
from universality.pipeline.stages.text_sources import pinned_sources

OLD, NEW = "a" * 40, "b" * 40


def config_of(source: str) -> Config:
    corpus = {"source": source, "max_documents": 30, "n_ctx": 16, "held_out": 0.4}
    return parse_config({"models": {"load": {"A": "starter/seed0"}}, "corpus": corpus})


def test_a_run_keeps_the_commit_that_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    revision = tmp_path / "home" / "universality" / "revisions" / "acme--set@main"
    revision.parent.mkdir(parents=True)
    budget = TextBudget(max_documents=30)
    for commit in (OLD, NEW):  # as streaming leaves them
        text = hub_text(f"acme/set@{commit}")
        monkeypatch.setattr(
            "universality.corpus.hub_texts._stream",
            lambda *arguments, commit=commit: write_texts(
                [f"{commit} text {i} " * 9 for i in range(30)], arguments[-1]
            ),
        )
        fetch_texts(text, {}, budget)
    revision.write_text(OLD)
    config, folder = config_of("acme/set"), RunFolder(tmp_path / "run")
    before = corpus_inputs(config, folder)
    make_corpus(config, folder)
    assert json.loads(folder.corpus_summary.read_text())["commits"] == {"acme/set": OLD}
    revision.write_text(NEW)  # the data set has changed, and another run has read it
    assert pinned_sources(config, folder) == [f"acme/set@{OLD}:default/train"]
    assert corpus_inputs(config, folder) == before
    assert corpus_inputs(config, RunFolder(tmp_path / "other")) != before  # control: a new run reads what is new
    make_corpus(config, folder)
    summary = json.loads(folder.corpus_summary.read_text())
    assert summary["commits"] == {"acme/set": OLD}
    path = fetch_texts(hub_text(f"acme/set@{OLD}"), {}, budget)
    assert summary["blocks_hash"] == build_corpus(path, n_ctx=16, held_out=0.4).blocks.hash
