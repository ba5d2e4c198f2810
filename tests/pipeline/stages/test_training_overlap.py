"""A run says in numbers whether its models were trained on the documents that it holds out."""

import json
from pathlib import Path

import numpy as np
import pytest

from universality.corpus import TokenBlocks
from universality.corpus.blocks import cut_blocks
from universality.corpus.documents import DocumentTable
from universality.models.training_documents import TrainingDocuments
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.training_overlap import note_overlap, seen_in_training, unrecorded

SPLITS = ("train",) * 4 + ("choose",) * 3 + ("report",) * 3


def made(n: int, splits: tuple[str, ...], n_ctx: int = 4) -> TokenBlocks:
    """The first ``n`` of some documents, no two alike."""
    names = tuple(map(str, range(n)))
    table = DocumentTable(id=names, kind=("k",) * n, group=names, split=splits)
    return cut_blocks([[i, i + 1, 7] for i in range(n)], table, n_ctx=n_ctx, bos_id=0, d_vocab=16, tokenizer_hash="t")


@pytest.fixture
def blocks() -> TokenBlocks:
    return made(10, SPLITS)


def noted(blocks: TokenBlocks, source: Path, corpus_hash: str | None, run: Path) -> dict[str, int | None]:
    folder = RunFolder(run)
    folder.model("A").mkdir(parents=True, exist_ok=True)
    found: dict[str, int | None] = json.loads(note_overlap(folder, "A", source, corpus_hash, blocks).read_text())
    return found


def test_a_model_of_a_smaller_held_out_share_has_seen_nothing(
    blocks: TokenBlocks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Held-out documents of this study are among those that the model's own training held out."""
    TrainingDocuments.of(blocks.take(np.arange(3))).save(tmp_path)
    assert noted(blocks, tmp_path, "other blocks", tmp_path / "run") == {"held_out": 6, "seen": 0}
    assert capsys.readouterr().err == ""


def test_an_overlap_is_counted_and_warned_of(
    blocks: TokenBlocks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    TrainingDocuments.of(made(6, ("train",) * 6, n_ctx=8)).save(tmp_path)  # two of those held out here, cut otherwise
    assert noted(blocks, tmp_path, "other blocks", tmp_path / "run") == {"held_out": 6, "seen": 2}
    assert "warning: 2 of 6 held-out documents were among those that model A was trained on" in capsys.readouterr().err


def test_a_model_from_elsewhere_is_unknown(blocks: TokenBlocks, tmp_path: Path) -> None:
    assert noted(blocks, tmp_path, None, tmp_path / "run") == {"held_out": 6, "seen": None}
    assert noted(blocks, tmp_path, blocks.hash, tmp_path / "run") == {"held_out": 6, "seen": 0}
    assert seen_in_training("A", 6, None) == "it is not known which documents model A was trained on"


def test_plan_names_the_models_without_a_record(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert unrecorded({"A": "starter/seed0", "B": str(tmp_path), "C": "owner/absent@main"}) == ["B", "C"]


def test_a_finished_run_states_the_number(finished: Path) -> None:
    page = (finished / "report" / "index.html").read_text(encoding="utf-8")
    summary = json.loads((finished / "report" / "summary.json").read_text(encoding="utf-8"))
    documents = TokenBlocks.load(finished / "corpus" / "blocks.npz").select("choose", "report").document
    for model in summary["models"]["rows"]:
        assert model["held_out"] == len(np.unique(documents))
        assert seen_in_training(model["name"], model["held_out"], model["seen"]) in page
        assert (finished / "models" / model["name"] / "training_documents.npz").is_file()
    assert "may have been trained on" not in page
