"""What the stages choose by themselves."""

import numpy as np
import pytest

from universality.corpus import TokenBlocks, build_corpus
from universality.pipeline.stages import sample_documents


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
