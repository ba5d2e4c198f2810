"""Token blocks, their tokenizer, and text that cannot be split."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from run_commands import SMOKE, call_here

from universality.config import Config, load_config
from universality.corpus import TokenBlocks, load_tokenizer, train_bpe
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.run_facts import text_left_out
from universality.pipeline.stages.make_corpus import corpus_inputs, make_corpus


def test_text_of_one_name_in_two_folders_is_told_apart(tmp_path: Path) -> None:
    for inside in ("x", "y"):
        (tmp_path / inside).mkdir()
        (tmp_path / inside / "a.txt").write_text(f"text of {inside}")
    config = load_config(SMOKE, [f"corpus.source={tmp_path}"])
    before = corpus_inputs(config)
    (tmp_path / "x" / "a.txt").write_text("changed")
    assert corpus_inputs(config) != before


def test_a_split_without_text_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a single short document " * 40)
    done = call_here("run", SMOKE, "--set", f"corpus.source={tmp_path / 'one.txt'}", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "1 document leaves a split without tokens" in done.stderr
    assert "of less than 4,000 characters, is one document: give more text" in done.stderr
    assert not (tmp_path / "run" / "models").exists()


def test_one_long_file_is_enough(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("".join(f"Sentence {i} of a long text.\n\n" for i in range(2000)))
    _, summary, _ = corpus_of(tmp_path / "run", source=str(tmp_path / "one.txt"))
    assert summary["flagged_kinds"] == ["text"]
    assert "cut into passages of one work" in summary["notes"][0]
    _, limited, _ = corpus_of(tmp_path / "limited", source=str(tmp_path / "one.txt"), max_tokens=5000)
    assert 5000 <= sum(limited["tokens"].values()) < sum(summary["tokens"].values())


def corpus_of(run: Path, **corpus: Any) -> tuple[RunFolder, dict[str, Any], list[str]]:
    """The corpus stage alone: its folder, its summary and the names of its files."""
    folder = RunFolder(run)
    config = Config(corpus={"n_ctx": 16, "held_out": 0.4, **corpus}, models={"load": {"A": "starter/seed0"}})
    files = make_corpus(config, folder)
    return folder, json.loads(folder.corpus_summary.read_text()), [file.name for file in files]


def texts(path: Path, *, text: str) -> str:
    path.write_text("\n".join(json.dumps({"text": f"{text} {i}"}) for i in range(30)))
    return str(path)


def test_a_run_keeps_which_token_opens_a_text(tmp_path: Path) -> None:
    tokenizer = train_bpe(["a small text of words " * 20], 300).backend.to_str().replace("<|bos|>", "<|startoftext|>")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text(tokenizer)
    (tmp_path / "model" / "tokenizer_config.json").write_text('{"bos_token": "<|startoftext|>", "pad_token": "x"}')
    source = texts(tmp_path / "a.jsonl", text="small words")
    folder, _, files = corpus_of(tmp_path / "run", source=source, tokenizer=str(tmp_path / "model"))
    assert files == ["blocks.npz", "summary.json", "tokenizer.json", "tokenizer_config.json"]
    assert load_tokenizer(folder.tokenizer).bos_id == 0
    folder, _, files = corpus_of(tmp_path / "starter", source=source)  # control: a file that says it itself
    assert files == ["blocks.npz", "summary.json", "tokenizer.json"]


def test_a_run_says_what_was_left_out_of_its_text(tmp_path: Path) -> None:
    (tmp_path / "text" / ".git").mkdir(parents=True)
    source = tmp_path / "text"
    texts(source / "a.jsonl", text="one<|bos|>two")
    _, summary, _ = corpus_of(tmp_path / "run", source=str(source))
    assert summary["special_left_out"] == 30
    assert summary["repeated_documents"] == 0
    assert summary["notes"] == [f"{source}: hidden files and folders are not read: .git"]
    assert text_left_out(SimpleNamespace(corpus=summary)) == [  # type: ignore[arg-type]
        ("Left out of the text", summary["notes"][0]),
        ("Special tokens in the text", "30, left out; the text after each begins a new block"),
    ]
    repeated = text_left_out(SimpleNamespace(corpus={"repeated_documents": 2}))  # type: ignore[arg-type]
    assert repeated == [("Held-out documents whose exact text is in another split too", "2")]
    assert text_left_out(SimpleNamespace(corpus={})) == []  # type: ignore[arg-type]  # a run of an earlier version


def test_special_ids_of_a_npy_are_set_in_the_configuration(tmp_path: Path) -> None:
    rows = np.arange(30 * 8).reshape(30, 8) % 90 + 10
    rows[:, 6:] = 1
    np.save(tmp_path / "t.npy", rows)
    source = {"source": str(tmp_path / "t.npy"), "d_vocab": 100, "bos_id": 0, "special_ids": [1]}
    folder, summary, _ = corpus_of(tmp_path / "run", **source)
    assert summary["special_left_out"] == 60
    assert sum(summary["tokens"].values()) == 180
    blocks = TokenBlocks.load(folder.blocks)
    assert (blocks.tokens[blocks.valid] >= 10).all()
