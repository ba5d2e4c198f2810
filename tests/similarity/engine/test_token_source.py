"""Sources derived from one share what they measured; a measure is known by one line in the registry."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import dense, pearson
from sparse_sides import SEEN, stores

from universality.errors import UniversalityError
from universality.similarity import TOKEN_MEASURES, Similarity
from universality.similarity.engine import token_source
from universality.similarity.measures.activation import ActivationPearson
from universality.similarity.measures.masked import Coverage


def test_a_registered_measure_has_its_own_name_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    assert {name: measure.name for name, measure in TOKEN_MEASURES.items()} == {name: name for name in TOKEN_MEASURES}
    with pytest.raises(UniversalityError, match="unknown measure 'r'; choose one of activation, cosine, "):
        Similarity.over_tokens("r", *stores(tmp_path))


def test_a_new_measure_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Doubled(ActivationPearson):
        name = "doubled"

        def scores(self, values, i, j):  # type: ignore[no-untyped-def]
            return 2 * super().scores(values, i, j)

    monkeypatch.setitem(TOKEN_MEASURES, "doubled", Doubled)
    a, b = stores(tmp_path)
    assert_allclose(Similarity.over_tokens("doubled", a, b).dense(), 2 * pearson(dense(a), dense(b)), atol=1e-12)


def test_repaired_rows_take_moments_and_the_copy_by_feature_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ActivationPearson.of(*stores(tmp_path))
    source.block(np.arange(7))
    measured: list[int] = []
    measure = token_source.measure_side
    monkeypatch.setattr(token_source, "measure_side", lambda *a: measured.append(1) or measure(*a))
    rows = np.arange(SEEN.n_tokens)
    repaired = source.repaired(rows, rows[::-1])
    assert_allclose(
        repaired.block(np.arange(7)), pearson(dense(source.a.store), dense(source.b.store)[::-1]), atol=1e-12
    )
    assert not measured  # the same rows in another order
    assert repaired.moments._columns is source.moments._columns
    assert source.restrict([1]).moments.a.rows.size < SEEN.n_tokens
    assert len(measured) == 2  # other rows: both sides anew


def test_a_transposed_source_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Coverage.of(*stores(tmp_path), of_="rows")
    block = source.block(np.arange(7))
    monkeypatch.setattr(token_source, "measure_side", None)
    turned = source.transposed()
    assert turned.of_ == "cols"
    assert turned.moments.a is source.moments.b
    assert_allclose(turned.block(np.arange(5)), block.T)


@pytest.mark.parametrize("measure", ["activation", "cosine", "phi", "jaccard", "masked_cosine"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_source_that_is_sent_to_another_process_compares_the_same_tokens(
    tmp_path: Path, measure: str, in_memory: bool
) -> None:
    whole = Similarity.over_tokens(measure, *stores(tmp_path), 1 << 30 if in_memory else 1)
    rows = np.arange(SEEN.n_tokens)
    for sim in (whole, whole.restrict([0, 2]), whole.repaired(rows[10:60], rows[60:10:-1])):
        sent = pickle.loads(pickle.dumps(sim))
        assert (sent._source.a.whole is not None) == in_memory
        assert_array_equal(sent.dense(1 << 30), sim.dense(1 << 30))
        assert sent.provenance == sim.provenance
        assert sent.here()._source is sent._source
