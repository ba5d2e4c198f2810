"""Which documents a model was trained on: known by their content, recorded, counted among others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.corpus import TokenBlocks
from universality.corpus.blocks import cut_blocks
from universality.corpus.documents import DocumentTable
from universality.corpus.passages import read_passages
from universality.corpus.splits import split_documents
from universality.corpus.tokenizer import load_tokenizer
from universality.errors import FormatError
from universality.models.language_model import save_model
from universality.models.model_settings import ModelArchitecture, ModelSeeds, ModelTraining
from universality.models.shipped import STARTER
from universality.models.train_model import train_model
from universality.models.training_documents import FILE, TrainingDocuments, document_hashes, known_documents
from universality.models.weights_hash import saved_hash

TEXTS = [[5, 6, 7], list(range(10, 40)), [5, 6, 8], [9], [5, 6, 7]]
SPLITS = ("train", "train", "choose", "report", "report")


def cut(
    texts: list[list[int]] = TEXTS, splits: tuple[str, ...] = SPLITS, n_ctx: int = 8, tokenizer: str = "t"
) -> TokenBlocks:
    names = tuple(f"document {i}" for i in range(len(texts)))
    table = DocumentTable(id=names, kind=("k",) * len(texts), group=names, split=splits)
    return cut_blocks(texts, table, n_ctx=n_ctx, bos_id=0, d_vocab=64, tokenizer_hash=tokenizer)


def test_a_document_is_known_by_its_content_alone() -> None:
    hashes = document_hashes(cut())
    assert len(hashes) == 5
    assert hashes[0] == hashes[4]
    assert len(set(hashes.tolist())) == 4, "the control: other tokens, another hash"
    assert_array_equal(document_hashes(cut(n_ctx=4)), hashes)
    assert_array_equal(document_hashes(cut(n_ctx=64)), hashes)
    assert_array_equal(document_hashes(cut(TEXTS[::-1], SPLITS[::-1])), hashes[::-1])
    blocks = cut()
    last_first = np.argsort(-blocks.document, kind="stable")
    assert_array_equal(document_hashes(blocks.take(last_first)), hashes)


def test_the_overlap_with_held_out_documents_is_counted() -> None:
    blocks = cut()
    recorded = TrainingDocuments.of(blocks)
    assert len(recorded) == 2
    assert recorded.count_in(blocks.select("choose", "report")) == 1, "an exact duplicate stands in both"
    apart = cut(TEXTS[:4], SPLITS[:4])
    assert TrainingDocuments.of(apart).count_in(apart.select("choose", "report")) == 0
    everything = cut(TEXTS, ("train",) * 5)
    assert TrainingDocuments.of(everything).count_in(blocks.select("choose", "report")) == 3
    assert recorded.count_in(cut(tokenizer="another")) is None


def test_a_record_is_read_back_and_copied_with_its_folder(tmp_path: Path) -> None:
    blocks = cut()
    recorded = TrainingDocuments.of(blocks)
    (tmp_path / "m").mkdir()
    recorded.save(tmp_path / "m")
    shutil.copytree(tmp_path / "m", tmp_path / "copy")
    found = TrainingDocuments.load(tmp_path / "copy")
    assert found is not None
    assert_array_equal(found.hashes, recorded.hashes)
    assert (found.tokenizer_hash, found.corpus_hash) == ("t", blocks.hash)


def test_without_a_record_the_blocks_that_it_was_trained_on_tell(tmp_path: Path) -> None:
    blocks = cut()
    assert known_documents(tmp_path, "other blocks", blocks) is None
    assert known_documents(tmp_path, None, blocks) is None
    known = known_documents(tmp_path, blocks.hash, blocks)
    assert known is not None
    assert len(known) == 2


def test_damaged_records_are_refused(tmp_path: Path) -> None:
    path = TrainingDocuments.of(cut()).save(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    with pytest.raises(FormatError, match=r"not a record of training documents, or corrupt: .*; delete it, and"):
        TrainingDocuments.load(tmp_path)
    header = {"format": "universality-training-documents", "version": 2, "tokenizer_hash": "", "corpus_hash": ""}
    coded = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, header=coded, hashes=np.zeros(1, np.uint64))
    with pytest.raises(FormatError, match=r"expected universality-training-documents version 1, found .* version 2"):
        TrainingDocuments.load(tmp_path)


def test_training_leaves_a_record(blocks: TokenBlocks, architecture: ModelArchitecture, tmp_path: Path) -> None:
    settings = ModelTraining(epochs=0.02, batch_blocks=16)
    seeds = ModelSeeds(init=0, order=1)
    model = train_model(blocks, tmp_path, seeds=seeds, architecture=architecture, training=settings, name="m")
    save_model(model, tmp_path)
    found = TrainingDocuments.load(tmp_path)
    assert found is not None
    assert_array_equal(found.hashes, np.unique(document_hashes(blocks.select("train"))))
    assert found.corpus_hash == model.metadata["corpus_hash"]
    (tmp_path / FILE).unlink()
    assert saved_hash(tmp_path) == model.hash, "the record is no part of a model's hash"


@pytest.mark.parametrize("seed", ["seed0", "seed1", "seed2"])
def test_shipped_models_carry_the_documents_of_their_corpus(seed: str) -> None:
    recorded = TrainingDocuments.load(STARTER / seed)
    assert recorded is not None
    config = json.loads((STARTER / seed / "config.json").read_text(encoding="utf-8"))
    assert (recorded.corpus_hash, recorded.tokenizer_hash) == (config["corpus_hash"], config["tokenizer_hash"])
    assert (np.diff(recorded.hashes.astype(object)) > 0).all()
    assert (STARTER / seed / FILE).stat().st_size < 100_000


def test_the_record_of_the_shipped_models_tells_training_from_held_out_text() -> None:
    passages = read_passages("starter")
    columns = [passage.kind for passage in passages], [p.group for p in passages], [p.id for p in passages]
    split = split_documents(*columns).split
    some = {part: [i for i, name in enumerate(split) if (name == "train") == part][::200] for part in (True, False)}
    tokenizer, recorded = load_tokenizer("starter"), TrainingDocuments.load(STARTER / "seed0")
    assert recorded is not None
    for part, places in some.items():
        tokens = tokenizer.encode([passages[i].text for i in places])
        table = DocumentTable(*[tuple(str(i) for i in places)] * 3, split=("train",) * len(places))
        made = cut_blocks(
            tokens, table, n_ctx=128, bos_id=tokenizer.bos_id, d_vocab=tokenizer.d_vocab, tokenizer_hash=tokenizer.hash
        )
        assert recorded.count_in(made) == (len(places) if part else 0)
