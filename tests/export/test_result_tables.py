"""The table of a match says of each pair what both features are, and files give it back."""

import csv
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import universality
from universality.errors import MismatchError, MissingExtraError
from universality.export import match_table, read_csv, split_tokens, unescape, unguard, write_csv, write_parquet
from universality.features.storage.store import FeatureStore
from universality.matching import Match, match
from universality.similarity import Similarity

VOCABULARY = ["=1+1", "\x07", "a|b", '"quoted", comma', " the", "\udce2", "'", "-", "\r\n", "مرحبا"]


def decode(ids: list[int]) -> list[str]:
    return [VOCABULARY[i] for i in ids]


@pytest.fixture
def matched(two_stores: tuple[FeatureStore, FeatureStore]) -> Match:
    return match(Similarity.activation(*two_stores))


def test_each_pair_says_what_its_features_are(two_stores: tuple[FeatureStore, FeatureStore], matched: Match) -> None:
    a, b = two_stores
    frame = match_table(matched, a, b, decode=decode, k=2)
    assert dict(zip(frame["row"], frame["col"], strict=True)) == {0: 2, 1: 1, 2: 0}
    assert frame["score"].is_monotonic_decreasing
    for record in frame.to_dict("records"):
        for side, store, feature in (("row", a, record["row"]), ("col", b, record["col"])):
            rows, values = store.feature(feature)
            assert_allclose(record[f"{side}_density"], len(rows) / store.n_tokens)
            assert record[f"{side}_kind"] in {"x", "y"}
            assert 0.5 <= record[f"{side}_purity"] <= 1
            heaviest = int(np.bincount(store.tokens.token[rows], values).argmax())
            assert record[f"{side}_tokens"][0] == VOCABULARY[heaviest]
            assert len(record[f"{side}_tokens"]) <= 2


def test_without_a_decoder_tokens_are_numbers(two_stores: tuple[FeatureStore, FeatureStore], matched: Match) -> None:
    frame = match_table(matched, *two_stores, k=3)
    assert all(token.isdecimal() for tokens in frame["row_tokens"] for token in tokens)


def test_calibration_is_joined_by_pair(two_stores: tuple[FeatureStore, FeatureStore], matched: Match) -> None:
    calibration = pd.DataFrame({"row": [1, 0], "col": [1, 2], "held_out": [0.5, 0.6], "q": [0.01, 0.2], "x": [9, 9]})
    frame = match_table(matched, *two_stores, calibration=calibration).set_index("row")
    assert_allclose(frame.loc[[0, 1, 2], "held_out"], [0.6, 0.5, np.nan])
    assert_allclose(frame.loc[[0, 1, 2], "q"], [0.2, 0.01, np.nan])
    assert "x" not in frame
    assert "ci_low" not in frame


def test_a_pair_that_the_calibration_lacks_says_so(
    two_stores: tuple[FeatureStore, FeatureStore], matched: Match
) -> None:
    calibration = pd.DataFrame({"row": [1, 0], "col": [1, 2], "held_out": [0.5, 0.6], "note": ["", "rare"]})
    notes = match_table(matched, *two_stores, calibration=calibration).set_index("row")["note"]
    assert notes.loc[[0, 1, 2]].tolist() == ["rare", "", "no pair of this calibration: nothing is known of it"]


def test_pairs_too_rare_for_a_p_come_last(two_stores: tuple[FeatureStore, FeatureStore], matched: Match) -> None:
    best = match_table(matched, *two_stores)[["row", "col"]]
    calibration = best.assign(p=[np.nan, 0.5, 0.01])
    assert match_table(matched, *two_stores, calibration=calibration)["row"].tolist() == [
        *best["row"][1:],
        best["row"][0],
    ]


def test_each_feature_names_its_best_partner(two_stores: tuple[FeatureStore, FeatureStore], matched: Match) -> None:
    frame = match_table(matched, *two_stores)
    sim = Similarity.activation(*two_stores).block(np.arange(3))
    for record in frame.to_dict("records"):
        for side, scores in (("row", sim[record["row"]]), ("col", sim[:, record["col"]])):
            assert record[f"{side}_nearest"] == np.nanargmax(scores)
            assert_allclose(record[f"{side}_nearest_score"], np.nanmax(scores))


def test_a_feature_without_any_partner_has_none(two_stores: tuple[FeatureStore, FeatureStore]) -> None:
    sim = Similarity.from_dense(np.array([[0.5, 0.1, 0.2, 0.3]] * 3))
    found = match(sim)
    best = replace(found.nearest, best_col=np.full(3, -1), best_col_score=np.full(3, np.nan))
    frame = match_table(replace(found, nearest=best), *two_stores)
    assert frame["row_nearest"].isna().all()
    assert frame["row_nearest"].dtype == "Int64"


def test_logit_weights_and_ceilings_have_their_columns_always(
    two_stores: tuple[FeatureStore, FeatureStore], matched: Match
) -> None:
    bare = match_table(matched, *two_stores)
    assert bare[["logit_r", "ceiling_a", "ceiling_b"]].isna().all(axis=None)
    calibration = matched.to_frame()[["row", "col"]].assign(ceiling_a=[0.7, 0.8, 0.9], ceiling_b=0.5)
    full = match_table(matched, *two_stores, calibration=calibration, logit_r=[0.1, 0.2, 0.3]).set_index("row")
    assert_allclose(full.loc[matched.rows, "logit_r"], [0.1, 0.2, 0.3])
    assert_allclose(full.loc[matched.rows, "ceiling_a"], [0.7, 0.8, 0.9])
    assert_allclose(full["ceiling_b"], 0.5)
    with pytest.raises(MismatchError, match=r"logit_r: expected one number for each of 3 pairs, found shape \[2\]"):
        match_table(matched, *two_stores, logit_r=[0.1, 0.2])


def test_calibration_without_pairs_is_refused(two_stores: tuple[FeatureStore, FeatureStore], matched: Match) -> None:
    with pytest.raises(MismatchError, match=r"columns \['row', 'q'\]: \['col'\] missing"):
        match_table(matched, *two_stores, calibration=pd.DataFrame({"row": [0], "q": [0.1]}))
    twice = pd.DataFrame({"row": [0, 0], "col": [2, 2], "q": [0.1, 0.2]})
    with pytest.raises(MismatchError, match="names a pair twice"):
        match_table(matched, *two_stores, calibration=twice)


def test_other_stores_are_refused(two_stores: tuple[FeatureStore, FeatureStore], matched: Match) -> None:
    a, b = two_stores
    with pytest.raises(MismatchError, match=r"the match is of 3 x 4 features, but .*b.h5 has 4 and .*a.h5 3"):
        match_table(matched, b, a)


def test_csv_is_read_by_the_csv_module_and_gives_the_tokens_back(
    two_stores: tuple[FeatureStore, FeatureStore], matched: Match, tmp_path: Path
) -> None:
    frame = match_table(matched, *two_stores, decode=decode, k=10)
    path = write_csv(frame, tmp_path / "m.csv")
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file, strict=True))
    assert len(records) == len(frame)
    for record, (_, row) in zip(records, frame.iterrows(), strict=True):
        assert tuple(split_tokens(unguard(record["row_tokens"]))) == row["row_tokens"]
        assert unescape(unguard(record["row_kind"])) == row["row_kind"]
        assert int(record["row"]) == row["row"]
        assert float(record["score"]) == row["score"]
        assert not record["row_tokens"].startswith(tuple("=+-@"))


def test_csv_is_rfc_4180_in_utf_8(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "n": [1, 2],
            "x": [0.1, np.nan],
            "flag": [True, False],
            "text": ['a,"b"', None],
            "t": [("=", "|"), ("\n",)],
        }
    )
    raw = write_csv(frame, tmp_path / "a.csv").read_bytes()
    assert raw == b'n,x,flag,text,t\r\n1,0.1,True,"a,""b""",\r\n2,,False,,\\x0a\r\n'.replace(
        b'"a,""b""",\r\n', b'"a,""b""",\'=|\\x7c\r\n'
    )


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "x": [0.1 + 0.2, -1e-300, np.nan],
            "n": [1, 2**62 + 1, -3],
            "sure": [True, False, True],
            "=text": ["a", "b\x00", "-c"],
            "kind": ["1", "02", "nan"],
            "limit": [np.inf, 5e-324, 1.7976931348623157e308],
        }
    )
    back = read_csv(write_csv(frame, tmp_path / "a.csv"), text=["kind"])
    for name in frame:
        assert_array_equal(back[name], frame[name])
    assert [back[name].dtype.kind for name in frame] == ["f", "i", "b", "O", "O", "f"]
    assert read_csv(tmp_path / "a.csv")["kind"].tolist()[:2] == [1, 2], "the control: unnamed, such text is a number"


def test_any_reader_reads_the_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [0.1 + 0.2, -1e-300, np.nan], "text": ["a", "b\x00", "-c"]})
    back = pd.read_csv(write_csv(frame, tmp_path / "a.csv"))
    assert_allclose(back["x"], frame["x"], rtol=1e-15)
    assert [unescape(unguard(text)) for text in back["text"]] == list(frame["text"])


def test_a_table_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\r\n1,2\r\n3\r\n")
    with pytest.raises(ValueError, match="row 3 has 1 cells, the header 2"):
        read_csv(path)


def test_one_function_writes_every_csv_file() -> None:
    """Whatever else calls a writer would leave formulas as they are."""
    root = Path(universality.__file__).parents[1]
    sources = [*(root / "universality").rglob("*.py"), *(root / "analyses").rglob("*.py")]
    writing = {
        path.relative_to(root).as_posix()
        for path in sources
        if re.search(r"\.to_csv\(|csv\.(Dict)?[wW]riter\(|savetxt\(", path.read_text(encoding="utf-8"))
    }
    assert writing == {"universality/export/result_tables.py"}


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"row": np.zeros(0, int), "text": np.zeros(0, object)})
    assert write_csv(frame, tmp_path / "a.csv").read_bytes() == b"row,text\r\n"
    assert list(pd.read_parquet(write_parquet(frame, tmp_path / "a.parquet"))) == ["row", "text"]


def test_parquet_gives_the_tokens_back_as_lists(
    two_stores: tuple[FeatureStore, FeatureStore], matched: Match, tmp_path: Path
) -> None:
    frame = match_table(matched, *two_stores, decode=decode, k=10)
    back = pd.read_parquet(write_parquet(frame, tmp_path / "m.parquet"))
    assert list(back.columns) == list(frame.columns)
    for tokens, expected in zip(back["row_tokens"], frame["row_tokens"], strict=True):
        assert tuple(unescape(token) for token in tokens) == expected
    assert_array_equal(back["score"], frame["score"])


def test_parquet_without_pyarrow_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"a Parquet table needs pyarrow, .*'universality\[parquet\]'"):
        write_parquet(pd.DataFrame({"x": [1]}), tmp_path / "a.parquet")
