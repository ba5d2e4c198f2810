"""The agreement of two dictionaries as one file: planted matchings are found, and files that contradict are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from typer.testing import CliRunner

from universality.cli import app
from universality.errors import FormatError, MismatchError
from universality.export import pw_mcc_record, read_pw_mcc, write_pw_mcc
from universality.features import Dictionary, FeatureStore
from universality.sae import SAE
from universality.statistics import pw_mcc

D, WIDTH = 32, 40
KNOWN = {"model_name": "toy", "hook_name": "blocks.0.hook_resid_post"}
ORDER = np.random.default_rng(3).permutation(WIDTH)


def rows(seed: int = 0) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(seed).standard_normal((WIDTH, D)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def sae(decoder: np.ndarray[Any, Any], **metadata: Any) -> SAE:
    weights = torch.tensor(decoder.astype(np.float32))
    return SAE(weights.T.contiguous(), torch.zeros(len(weights)), weights, torch.zeros(D), architecture="relu",
               metadata=KNOWN | metadata)  # fmt: skip


def store(path: Path, decoder: np.ndarray[Any, Any], dead: int, model: str = "m") -> FeatureStore:
    fires = np.ones((6, WIDTH), np.float32) * np.arange(1, 7)[:, None]
    fires[:, dead] = 0
    return FeatureStore.from_csr(
        sparse.csr_matrix(fires), path, np.arange(6), document=np.arange(6), special_tokens=(),
        provenance={"model": {"hash": model}, "site": "s"}, dictionary=Dictionary(decoder),
    )  # fmt: skip


def test_a_permuted_dictionary_with_flipped_signs_is_found_whole_and_chance_is_not() -> None:
    flipped = rows()[ORDER] * np.where(np.arange(WIDTH) % 2, 1, -1)[:, None]
    record = pw_mcc_record(sae(rows()), sae(flipped), replicates=2)
    assert record["score"]["pw_mcc"] == pytest.approx(1)
    assert np.array_equal(ORDER[record["matching"]["cols"]], record["matching"]["rows"])
    assert record["score"]["same_index"] == np.mean(np.arange(WIDTH) == ORDER)
    assert all(0.2 < value < 0.5 for value in record["null"]["pw_mcc"])
    assert record["began_alike"] is False
    drifted = rows() + 0.3 * rows(1)  # in one order: they stand where they began
    assert pw_mcc_record(sae(rows()), sae(drifted), replicates=0)["began_alike"] is True
    signed = pw_mcc_record(sae(rows()), sae(flipped), absolute=False)
    assert 0.4 < signed["score"]["pw_mcc"] < 0.8  # half of the directions are lost with their sign
    assert pw_mcc_record(sae(rows(0)), sae(rows(1)))["score"]["pw_mcc"] == pytest.approx(0.37, abs=0.08)


@pytest.mark.parametrize("absolute", [True, False])
def test_stores_leave_out_dead_features_and_agree_with_the_published_measure(tmp_path: Path, absolute: bool) -> None:
    a, b = store(tmp_path / "a.h5", rows(0), 4), store(tmp_path / "b.h5", rows(1), 7)
    record = pw_mcc_record(a, b, absolute=absolute)
    assert record["score"]["pw_mcc"] == pytest.approx(pw_mcc(a, b, absolute=absolute))
    assert (record["matching"]["dead_rows"], record["matching"]["dead_cols"]) == ([4], [7])
    assert record["population"] | {"living": ""} == {
        "living": "", "living_a": 39, "living_b": 39, "pairs": 39, "tokens": 6,
    }  # fmt: skip
    over_tokens = pw_mcc_record(a, b, measure="activation")
    assert over_tokens["score"]["pw_mcc"] == pytest.approx(1)
    assert over_tokens["null"] is None
    assert over_tokens["measure"] == {"name": "activation", "absolute": False, "forced": False}


def test_one_dictionary_is_called_so_and_not_a_common_start(tmp_path: Path) -> None:
    a, b, other = (store(tmp_path / f"{name}.h5", rows(seed), 4) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    for left, right in ((sae(rows()), sae(rows())), (a, b), (a, a)):
        record = pw_mcc_record(left, right, replicates=0)
        assert (record["one_dictionary"], record["began_alike"]) == (True, None)
    record = pw_mcc_record(a, other, replicates=0)
    assert (record["one_dictionary"], record["began_alike"]) == (False, False)


def test_models_are_told_apart_by_what_both_record(tmp_path: Path) -> None:
    hashed = {"name": "toy", "hash": "a" * 64}
    models = ("toy", hashed, {"hash": "a" * 64})
    by_name, by_both, by_hash = (sae(rows(seed), model=model) for seed, model in enumerate(models))
    for left, right in ((by_name, by_both), (by_both, by_hash)):
        assert pw_mcc_record(left, right, replicates=0)["score"]["pw_mcc"] < 0.5
    with pytest.raises(MismatchError, match=r"one SAE names its model and one records .* \(toy, \(hash a{12}\)\)"):
        pw_mcc_record(by_name, by_hash)
    with pytest.raises(MismatchError, match=r"of model toy \(hash a{12}\) and other \(hash b{12}\): their"):
        pw_mcc_record(by_both, sae(rows(), model={"name": "other", "hash": "b" * 64}))
    with pytest.raises(FormatError, match="unknown measure 'logit'; choose one of decoder, activation, cosine"):
        pw_mcc_record(by_both, by_both, measure="logit")


def test_the_file_is_read_back_and_its_bytes_repeat(tmp_path: Path) -> None:
    record = pw_mcc_record(sae(rows(0)), sae(rows(1)[:30]), ceiling=0.9)
    path = write_pw_mcc(tmp_path / "a.json", record)
    again = write_pw_mcc(tmp_path / "b.json", pw_mcc_record(sae(rows(0)), sae(rows(1)[:30]), ceiling=0.9))
    assert path.read_bytes() == again.read_bytes()
    assert json.loads(path.read_text()) == record
    back = read_pw_mcc(path)
    assert back["score"] == record["score"]
    assert back["ceiling"] == 0.9
    assert back["matching"]["scores"].dtype == np.float64
    assert len(back["matching"]["unmatched_rows"]) == 10
    assert back["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format="x"), "not a universality.pw-mcc file"),
        (lambda r: r.update(version=2), "version 2, but this program reads 1"),
        (lambda r: r.pop("matching"), "not a whole universality.pw-mcc file: 'matching'"),
        (lambda r: r["matching"]["scores"].pop(), "differ in length"),
        (lambda r: r["matching"]["rows"].append(3), "must name each of 40 rows once"),
        (lambda r: r["matching"]["cols"].__setitem__(0, r["matching"]["cols"][1]), "must name each of 40 cols once"),
        (lambda r: r["score"].update(pw_mcc=0.99), "pw_mcc is 0.99, but the mean of the matched scores is 0.3"),
        (lambda r: r["score"].update(pw_mcc=None), "pw_mcc is None, but"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    record = pw_mcc_record(sae(rows(0)), sae(rows(1)), replicates=0)
    change(record)
    with pytest.raises(FormatError, match=message):
        read_pw_mcc(write_pw_mcc(tmp_path / "a.json", record))


def test_dictionaries_that_do_not_belong_together(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a.h5", rows(0), 4), store(tmp_path / "b.h5", rows(1), 7, model="other")
    cases: list[tuple[Any, Any, str]] = [
        (sae(rows()), a, "give two SAEs or two stores"),
        (sae(rows()), sae(rows(), model_name="other"), "the SAEs are of model toy and other"),
        (sae(rows()), sae(rows(), hook_name="blocks.1.hook_resid_post"), "the SAEs are of hook"),
        (sae(rows()), sae(rows(), model_name=None), "an SAE does not state its model"),
        (a, b, "decoder rows of two models lie in unrelated bases"),
    ]
    for left, right, message in cases:
        with pytest.raises(MismatchError, match=message):
            pw_mcc_record(left, right)
    assert pw_mcc_record(sae(rows()), sae(rows(), model_name=None), force=True)["measure"]["forced"]
    narrow = SAE(torch.eye(2), torch.zeros(2), torch.eye(2), torch.zeros(2), architecture="relu", metadata=KNOWN)
    with pytest.raises(MismatchError, match="decoder rows of widths 32 and 2"):
        pw_mcc_record(sae(rows()), narrow)
    with pytest.raises(FormatError, match="activation compares activations over tokens, which an SAE does not hold"):
        pw_mcc_record(sae(rows()), sae(rows()), measure="activation")


def test_nothing_alive_gives_no_score(tmp_path: Path) -> None:
    record = pw_mcc_record(sae(np.zeros((4, D))), sae(rows()))
    assert record["score"] == {"pw_mcc": None, "median": None, "same_index": None}
    assert read_pw_mcc(write_pw_mcc(tmp_path / "a.json", record))["matching"]["dead_rows"].tolist() == [0, 1, 2, 3]


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    for name, seed in (("A", 0), ("B", 1)):
        sae(rows(seed)).save(tmp_path / name)
    done = CliRunner().invoke(app, ["pw-mcc", str(tmp_path / "A"), str(tmp_path / "B"), "-o", str(tmp_path / "x.json")])
    assert done.exit_code == 0, done.output
    record = read_pw_mcc(tmp_path / "x.json")
    assert done.output.startswith(f"PW-MCC {record['score']['pw_mcc']:.4f} over 40 pairs; random rotation 0.")
    store(tmp_path / "a.h5", rows(0), 4).close()
    both = [str(tmp_path / "a.h5")] * 2
    done = CliRunner().invoke(app, ["pw-mcc", *both, "-o", str(tmp_path / "y.json"), "--measure", "activation"])
    assert done.exit_code == 0, done.output
    assert read_pw_mcc(tmp_path / "y.json")["a"]["kind"] == "store"
