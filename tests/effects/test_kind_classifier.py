import numpy as np
import pytest

from universality.corpus.blocks import cut_blocks
from universality.corpus.documents import DocumentTable
from universality.effects.kind_classifier import KindClassifier, share_of_kind
from universality.errors import MismatchError, UniversalityError

KINDS = ("even", "odd", "all")


def drawn(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """Tokens 1 to 20: a kind's own three times as often as others, or all alike."""
    weights = np.array([{"even": t % 2 == 0, "odd": t % 2 == 1, "all": True}[kind] for t in range(1, 21)], float)
    weights = weights * 2 + 1
    return rng.choice(np.arange(1, 21), n, p=weights / weights.sum())


@pytest.fixture
def classifier() -> KindClassifier:
    rng = np.random.default_rng(0)
    texts = [drawn(kind, 2000, rng) for kind in KINDS]
    names = tuple(f"{kind}.txt" for kind in KINDS)
    table = DocumentTable(id=names, kind=KINDS, group=names, split=("train",) * 3)
    return KindClassifier.fit(cut_blocks(texts, table, n_ctx=33, bos_id=0, d_vocab=25))


def test_text_is_given_to_its_kind(classifier: KindClassifier) -> None:
    rng = np.random.default_rng(1)
    for kind in KINDS:
        found = {length: classifier.classify(drawn(kind, 100 * length, rng).reshape(100, length)) for length in (3, 60)}
        assert share_of_kind(found[60], kind)[0] > 0.8
        assert share_of_kind(found[60], kind)[0] > share_of_kind(found[3], kind)[0]
    other = classifier.classify(drawn("even", 6000, rng).reshape(100, 60))
    assert share_of_kind(other, "odd")[0] == 0


def test_frequencies_are_smoothed_counts(classifier: KindClassifier) -> None:
    frequency = np.exp(classifier.log_frequency)
    np.testing.assert_allclose(frequency.sum(axis=1), 1)
    assert classifier.kinds == ("all", "even", "odd")
    np.testing.assert_allclose(frequency[:, 0], 1 / 2025)  # BOS is not counted
    assert frequency[1, 4] > 2 * frequency[1, 5]


def test_shares_have_wilson_intervals() -> None:
    share, low, high = share_of_kind(["a"] * 10, "a")
    assert (share, high) == (1, 1)
    assert low == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)
    assert share_of_kind(["b"] * 10, "a")[0] == 0
    with pytest.raises(UniversalityError, match="share of a kind needs labels"):
        share_of_kind([], "a")


def test_refusals(classifier: KindClassifier) -> None:
    with pytest.raises(MismatchError, match=r"below 25, found shape \(1, 2\)"):
        classifier.classify([[3, 25]])
    with pytest.raises(MismatchError, match=r"\[n_texts, n_tokens\] below 25"):
        classifier.classify([3, 4])
    table = DocumentTable(id=("a",), kind=("a",), group=("a",), split=("train",))
    blocks = cut_blocks([[1, 2]], table, n_ctx=3, bos_id=0, d_vocab=4)
    with pytest.raises(UniversalityError, match="smoothing: expected a number above 0, found 0"):
        KindClassifier.fit(blocks, smoothing=0)
    with pytest.raises(UniversalityError, match="needs text to count"):
        KindClassifier.fit(blocks.select("report"))
