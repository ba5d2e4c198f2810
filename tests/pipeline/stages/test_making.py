"""What the stages choose by themselves."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as HFTokenizer
from tokenizers import decoders, models, pre_tokenizers

from universality.config import Config
from universality.corpus import TokenBlocks, build_corpus, load_tokenizer, train_bpe
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.run_facts import text_left_out
from universality.pipeline.stages.making import make_corpus, sample_documents
from universality.pipeline.stages.write_exports import decoder


@pytest.fixture(scope="module")
def held_out() -> TokenBlocks:
    corpus = build_corpus(max_documents=60, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4)
    return corpus.blocks.select("choose", "report")


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_neurons_are_stored_on_documents_of_both_halves(held_out: TokenBlocks, share: float) -> None:
    sampled = sample_documents(held_out, share)
    assert len(np.unique(sampled)) == len(sampled)
    for split in ("choose", "report"):
        half = np.unique(held_out.select(split).document)
        assert len(np.intersect1d(sampled, half)) == max(2, round(share * len(half)))


def test_a_half_of_one_document_gives_it(held_out: TokenBlocks) -> None:
    report = np.unique(held_out.select("report").document)[0]
    choose = np.unique(held_out.select("choose").document)[:3]
    few = held_out.take(np.flatnonzero(np.isin(held_out.document, [report, *choose])))
    assert report in sample_documents(few, 0.01)


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


def test_tables_and_pages_show_tokens_as_text(tmp_path: Path) -> None:
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("▁caf", -1.0), ("é", -1.0), ("ć", -1.0)]
    backend = HFTokenizer(models.Unigram(pieces, 0, False))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    (tmp_path / "corpus").mkdir()
    backend.save(str(tmp_path / "corpus" / "tokenizer.json"))
    assert decoder(RunFolder(tmp_path))([2, 3, 4]) == [" caf", "é", "ć"]
