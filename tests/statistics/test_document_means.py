import numpy as np
import pytest

from universality.errors import UniversalityError
from universality.statistics.document_means import mean_over_documents


def sampled(rng: np.random.Generator, n_documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of documents of different lengths, with an effect of the document; the expected mean is 0."""
    sizes = rng.integers(5, 40, n_documents)
    documents = np.repeat(np.arange(n_documents), sizes)
    return rng.normal(size=n_documents)[documents] + rng.normal(size=documents.size), documents


def test_intervals_cover_over_documents_and_not_over_tokens() -> None:
    rng, covered, over_tokens = np.random.default_rng(0), 0, 0
    for trial in range(200):
        values, documents = sampled(rng, 12)
        found = mean_over_documents(values, documents, draws=200, seed=trial)
        covered += bool(found.low[0] <= 0 <= found.high[0])
        over_tokens += bool(abs(values.mean()) <= 1.96 * values.std() / np.sqrt(values.size))
    assert 0.91 <= covered / 200 <= 1
    assert over_tokens / 200 < 0.7  # the control: tokens of a document are not independent


def test_means_are_over_tokens_and_rows_are_independent() -> None:
    values, documents = sampled(np.random.default_rng(1), 9)
    both = mean_over_documents([values, np.full(values.size, 2.5)], documents)
    assert both.mean == pytest.approx([values.mean(), 2.5])
    assert both.n_documents == 9
    assert both.low[1] == both.high[1] == 2.5
    assert both.low[0] == mean_over_documents(values, documents).low[0]
    assert both.low[0] != mean_over_documents(values, documents, seed=1).low[0]


def test_few_documents_have_no_interval() -> None:
    found = mean_over_documents([1.0, 2, 3, 4], [0, 0, 1, 2])
    assert found.mean == [2.5]
    assert np.isnan([found.low, found.high]).all()
    assert np.isfinite(mean_over_documents([1.0, 2, 3, 4], [0, 1, 2, 3]).low).all()


def test_refusals() -> None:
    for values, documents in (([], []), ([1.0], [0, 1]), ([[1.0, 2.0]], [[0, 1]])):
        with pytest.raises(UniversalityError, match=r"expected values \[n, n_tokens\] and the document of each token"):
            mean_over_documents(values, documents)
    with pytest.raises(UniversalityError, match=r"draws >= 1 and 0 < level < 1, found 0 and 0\.95"):
        mean_over_documents([1.0], [0], draws=0)
