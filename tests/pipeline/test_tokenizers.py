"""Two models of different tokenizers, compared on the same characters from text to matches."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality import FeatureStore, Similarity
from universality.activations import ModelSite
from universality.config import Config, parse_config
from universality.corpus import TokenBlocks, load_tokenizer, train_bpe
from universality.corpus.passages import read_passages
from universality.errors import ConfigError, MismatchError, UniversalityError
from universality.features.collection import collect
from universality.models.language_model import load_model
from universality.pipeline import RunFolder, run
from universality.pipeline.cost.machine import count_text
from universality.pipeline.runner import run_controls
from universality.sae import SAE
from universality.serve.live_run import LiveRun
from universality.serve.live_text import read_text
from universality.statistics import Calibration, EffectAgreement

HOOK = "blocks.0.mlp.hook_post"


def study(tokenizer: Path, **other: Any) -> Config:
    """A of the starter's tokenizer; B, trained here, of one with fewer types."""
    return parse_config(
        {
            "corpus": {"max_documents": 60, "n_ctx": 48, "held_out": 0.4},
            "models": {
                "load": {"A": "starter/seed0"},
                "train": {"B": {"init": 0, "order": 100}},
                "architecture": {"d_model": 32, "n_heads": 2, "d_mlp": 64},
                "training": {"epochs": 0.2},
                "tokenizers": {"B": str(tokenizer)},
            },
            "features": {"neuron_documents": 0.3},
            "saes": {"widths": [32], "k": 4, "tokens": 8000, "batch_size": 512, "buffer_tokens": 4096}
            | {"quality_blocks": 8, "products": "float32", "held_out_steps": 8},
            "statistics": {"replicates": 1, "bootstrap": 5},
            "effects": {"blocks": 64, "contexts": 1, "loss_blocks": 4},
            "map": {"draw": False},
            **other,
        }
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_bpe((passage.text for passage in read_passages("starter")[1:2000:50]), 400).save(path)
    return path


@pytest.fixture(scope="module")
def finished(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return RunFolder(run(study(tokenizer), tmp_path_factory.mktemp("run")))


def test_the_plan_foretold_segments_and_own_tokens(tokenizer: Path, finished: RunFolder) -> None:
    text = count_text(study(tokenizer))
    made = json.loads(finished.corpus_summary.read_text())
    assert text.train == pytest.approx(made["tokens"]["train"], rel=0.1)
    segments = sum(made["tokens"].values())
    for name, n in made["own_tokens"].items():
        assert text.own[name] == pytest.approx(n / segments, rel=0.02)
    assert text.own["B"] > text.own["A"] > 1
    assert "holds" in text.note


def test_both_stores_have_a_row_for_each_segment(finished: RunFolder) -> None:
    common = TokenBlocks.load(finished.blocks).select("choose", "report")
    own = {name: TokenBlocks.load(finished.own_blocks(name)).select("choose", "report") for name in "AB"}
    assert own["A"].d_vocab == 4096
    assert own["B"].d_vocab == 400
    with (
        FeatureStore.open(finished.store("A", 32, 0)) as a,
        FeatureStore.open(finished.store("B", 32, 0)) as b,
    ):
        assert a.n_tokens == b.n_tokens == common.n_tokens < own["A"].n_tokens < own["B"].n_tokens
        assert a.tokens_hash == b.tokens_hash
        assert_array_equal(a.tokens.token, common.tokens[common.valid])
        assert a.tokens.position.min() == 1
        assert a.provenance["segments"]["pool"] == "max"
        assert a.provenance["segments"]["tokenizer_hash"] == load_tokenizer("starter").hash
        assert Similarity.activation(a, b).shape == (32, 32)
        with pytest.raises(UniversalityError, match=r"its rows are segments, .* of which the next is no token"):
            Similarity.attribution(a, b)


def test_logit_weights_compare_over_the_strings_that_both_tokenizers_share(
    finished: RunFolder, tokenizer: Path
) -> None:
    """The number and the coverage against a count by hand from the tokenizers' own texts."""
    texts = [load_tokenizer(source).token_texts for source in ("starter", tokenizer)]
    counts = [
        np.bincount(blocks.tokens[blocks.valid], minlength=len(texts[side]))
        for side, blocks in enumerate(TokenBlocks.load(finished.own_blocks(name)).select("train") for name in "AB")
    ]
    least = study(tokenizer).features.min_token_count
    frequent = [{text for text, n in zip(*side, strict=True) if n >= least} for side in zip(texts, counts, strict=True)]
    shared = frequent[0] & frequent[1]
    calibration = Calibration.load(finished.logit_calibration("A-B.w32"))
    assert any(f"{len(shared):,} token types in classes of script and" in note for note in calibration.notes)
    found = calibration.match.provenance["shared_strings"]
    assert found["counted"] == len(shared) > 100
    for side, name in enumerate("ab"):
        covered = sum(n for text, n in zip(texts[side], counts[side], strict=True) if text in shared)
        assert found["share_of_tokens"][name] == pytest.approx(covered / counts[side].sum())
    report = finished.report.read_text(encoding="utf-8")
    assert f"{len(shared)} token strings" in report
    arrays = np.load(finished.similarity("A-B.w32"))
    assert np.isfinite(arrays["logit"]).all()


@pytest.mark.parametrize(("name", "source"), [("A", "starter/seed0"), ("B", None)])
def test_a_row_is_the_largest_activation_of_its_tokens(finished: RunFolder, name: str, source: str | None) -> None:
    """Against a loop over segments: every token of the model's own blocks encoded, and the maximum taken."""
    common, own = (
        TokenBlocks.load(path).select("choose", "report").take(np.arange(40))
        for path in (finished.blocks, finished.own_blocks(name))
    )
    model = load_model(source or finished.model(name), name)
    codes = SAE.load(finished.sae(name, 32, 0)).encode(ModelSite(model, HOOK).read(own)).toarray()
    block, position = np.nonzero(own.valid)
    expected = [
        codes[(block == row) & (own.segment[row, position] == column)].max(axis=0)
        for row in range(len(common))
        for column in range(1, common.length[row])
    ]
    with FeatureStore.open(finished.store(name, 32, 0)) as store:
        assert_allclose(store.rows(slice(0, len(expected))).toarray(), expected, atol=1e-4)
        assert codes.any()


def test_new_text_is_read_in_segments_of_both_tokenizers(finished: RunFolder) -> None:
    with LiveRun(finished.root) as opened:
        live = opened.comparison()
        tokens, segments = live.sides[0].described.store.tokens, opened.results.decode
        rows = np.flatnonzero(tokens.document == tokens.document[0])
        text = "".join(segments(tokens.token[rows].tolist()))
        read = read_text(live, text[:7000])
        n = len(read.strings)
        assert read.strings[: n - 2] == segments(tokens.token[rows[: n - 2]].tolist())
        for side, found in zip(live.sides, read.features, strict=True):
            stored = side.described.store.rows(slice(int(rows[0]), int(rows[0]) + 10))
            assert_allclose(found[:10].toarray(), stored.toarray(), rtol=2e-3, atol=2e-3)


def test_the_run_reaches_its_report_with_partners_and_their_text(finished: RunFolder) -> None:
    assert finished.report.is_file()
    assert "stretches of text between boundaries" in finished.report.read_text(encoding="utf-8")
    for name in ("A-B.w32", "A-B.neurons"):  # hardly trained, and yet above the same text paired with other text
        found = Calibration.load(finished.calibration(name))
        assert np.nanmedian(found.held_out) > found.summary().null.median
    strings = set(json.loads(finished.segments.read_text()))
    table = (finished.root / "matches" / "A-B.w32.activation.csv").read_text(encoding="utf-8")
    assert any(word in table for word in strings if len(word) > 4)
    rows = [json.loads(line) for line in (finished.root / "saes" / "train.jsonl").read_text().splitlines()]
    assert all(set(row["saes"]) == {f"{m}/w32-s{seed}" for m in "AB" for seed in (0, 1)} for row in rows)


@pytest.mark.slow
def test_vocabularies_that_share_too_little_are_matched_by_activation_alone(
    finished: RunFolder, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = study(tokenizer, features={"neuron_documents": 0.3, "min_token_count": 300})
    folder = RunFolder(shutil.copytree(finished.root, tmp_path / "run"))
    run(few, folder.root)
    told = capsys.readouterr().err
    assert re.search(r"warning: A-B\.w32: .* logit weights need at least 100\. .* are not matched", told)
    assert re.search(r"note: effects/A: no fingerprints: .* are frequent enough in both models' text", told)
    assert Calibration.load(folder.calibration("A-B.w32")).match.rows.size
    assert not folder.logit_calibration("A-B.w32").exists()
    assert "logit" not in np.load(folder.similarity("A-B.w32")).files
    assert EffectAgreement.load(folder.effect_agreement("A-B.w32")).summary().n_compared
    assert folder.report.stat().st_mtime > finished.report.stat().st_mtime


def test_done_it_is_done(finished: RunFolder, tokenizer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(study(tokenizer), finished.root)
    assert "nothing to do" in capsys.readouterr().out


def test_text_cut_otherwise_is_another_text(finished: RunFolder, tmp_path: Path) -> None:
    """The control: the same model over blocks of its tokens alone shares no token with a store of segments."""
    own = TokenBlocks.load(finished.own_blocks("B")).select("report")
    site = ModelSite(load_model(finished.model("B"), "B"), HOOK)
    collect(site, {tmp_path / "own.h5": SAE.load(finished.sae("B", 32, 0))}, own)
    with (
        FeatureStore.open(finished.store("A", 32, 0)) as a,
        FeatureStore.open(tmp_path / "own.h5") as b,
        pytest.raises(MismatchError, match="both stores must see the same tokens"),
    ):
        Similarity.activation(a, b)
    with pytest.raises(MismatchError, match="expected the blocks of segments that these blocks"):
        collect(site, {tmp_path / "x.h5": None}, own, common=own.take(np.arange(2)))


def test_configurations_that_cannot_work_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    config = study(tokenizer)

    def changed(**models: Any) -> Config:
        return study(tokenizer, models={**config.models.model_dump(), **models})

    assert changed(tokenizers={"A": "own", "B": str(tokenizer)}).models.tokenizer_of("A", "x") == "starter"
    with pytest.raises(ConfigError, match="tokenizers names C, the models are A, B"):
        changed(tokenizers={"C": "starter"})
    with pytest.raises(ConfigError, match="tokenizers: B is trained here and has none of its own"):
        changed(tokenizers="own")
    with pytest.raises(ConfigError, match="B cannot read with 'train'"):
        changed(tokenizers={"B": "train"})
    with pytest.raises(ConfigError, match="does not name one for every model"):
        study(tokenizer, corpus={"tokenizer": "train"})
    with pytest.raises(ConfigError, match=r"corpus\.source is a \.npy"):
        study(tokenizer, corpus={"source": "tokens.npy"})
    with pytest.raises(ConfigError, match="these models have several"):
        run_controls(config, tmp_path / "run")
