"""Steering on the smoke run, whose untrained models write noise: what is tested is which features are set, and how."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from run_commands import call_here

from universality import Study
from universality.activations import ModelSite
from universality.corpus import load_tokenizer
from universality.effects import Intervention, clamp, write
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.models.language_model import load_model
from universality.pipeline.steering import FeatureName, PartnerScore, Sampling, SteeredText, Steering
from universality.sae import SAE


@pytest.fixture(scope="module")
def study(finished: Path) -> Iterator[Study]:
    with Study.open(finished) as opened:
        yield opened


@pytest.fixture
def pair(study: Study) -> tuple[int, int]:
    """A pair whose features both fire."""
    pairs = study.calibration.to_frame().dropna(subset="held_out")
    best = pairs.loc[pairs["held_out"].idxmax()]
    return int(best["row"]), int(best["col"])


def test_texts_are_those_of_the_functions_beneath(study: Study, pair: tuple[int, int]) -> None:
    steering = study.steer(f"A:{pair[0]}", "The cat", times=3, n_tokens=12, seed=5)
    assert [str(text.feature) for text in steering.texts] == [f"A:{pair[0]}", f"B:{pair[1]}"]
    tokenizer = load_tokenizer(study.folder / "corpus" / "tokenizer.json")
    prompt = [tokenizer.bos_id, *tokenizer.encode(["The cat"])[0]]
    for text, store, feature in zip(steering.texts, study.stores, pair, strict=True):
        name = text.feature.model
        site = ModelSite(load_model(study.folder / "models" / name), study.config.hooks[name])
        sae = SAE.load(study.folder / "saes" / name / "w128-s0")
        edit = Intervention(site, sae, clamp([feature], 3 * store.moments().max[feature]))
        for shown, edits in ((text.plain, []), (text.steered, [edit])):
            ids = write(site, prompt, edits, n_tokens=12, seed=5, never=tokenizer.ids_without_text)[0]
            assert shown == tuple(tokenizer.token_texts[i] for i in ids)
        assert text.plain != text.steered


def test_the_partner_has_its_score_and_chance_beside_it(study: Study, pair: tuple[int, int]) -> None:
    steering = study.steer(f"B:{pair[1]}", n_tokens=3)
    (score,) = steering.partners
    row = study.calibration.to_frame().set_index("row").loc[pair[0]]
    assert str(score.partner) == f"A:{pair[0]}"
    assert score.held_out == row["held_out"]
    assert score.q == {"overall": row["q"], "within kinds": row["q_kind"]}
    tau = study.calibration.chances[0].tau[study.match.rows == pair[0]]
    assert np.array_equal([score.null_quantile], tau, equal_nan=True)
    assert f"Feature B:{pair[1]} and its partner A:{pair[0]}\n  held-out r {row['held_out']:.2f}" in str(steering)


def test_values_become_the_same_multiple_for_the_partner(study: Study, pair: tuple[int, int]) -> None:
    maxima = [float(store.moments().max[feature]) for store, feature in zip(study.stores, pair, strict=True)]
    by_times = study.steer(f"A:{pair[0]}", times=2, n_tokens=8)
    by_value = study.steer(f"A:{pair[0]}", value=2 * maxima[0], n_tokens=8)
    assert [text.steered for text in by_value.texts] == [text.steered for text in by_times.texts]
    assert [text.change for text in by_value.texts] == [
        f"at {2 * maxima[0]:.3g}", f"at 2 × its maximum ({2 * maxima[1]:.3g})"
    ]  # fmt: skip
    assert [text.change for text in study.steer(f"A:{pair[0]}", ablate=True, n_tokens=1).texts] == ["ablated"] * 2
    assert study.steer(f"A:{pair[0]}", n_tokens=1).texts[0].change.startswith("at 4 × its maximum (")


def test_widths_and_seeds(study: Study) -> None:
    narrow = study.steer("A:3", width=32, value=1, n_tokens=1)
    assert {text.feature.width for text in narrow.texts} == {32}
    second = study.steer("A:3", sae_seed=1, value=1, n_tokens=1)  # matched with the first SAE of its own model
    assert [(text.feature.model, text.feature.sae_seed) for text in second.texts] in ([("A", 1), ("A", 0)], [("A", 1)])
    assert second.without == (() if second.partners else ("A seed 0",))


def test_writing_stops_at_the_context(study: Study) -> None:
    prompt = "a b " * 12
    tokenizer = load_tokenizer(study.folder / "corpus" / "tokenizer.json")
    room = 64 - 1 - len(tokenizer.encode([prompt])[0])
    assert 0 < room < 45
    shown = str(study.steer("A:3", prompt, value=1, n_tokens=100))
    assert "Sampling: 100 tokens, temperature 1, seed 0, the same noise for all" in shown
    assert f"\n  (stopped after {room}, where the context ends)\n" in shown
    assert "greedy" in str(study.steer("A:3", value=1, n_tokens=2, temperature=0))
    with pytest.raises(MismatchError, match=r"model 'A' reads 64 tokens, and \d+ leave no room to write"):
        study.steer("A:3", "a b " * 50, value=1)


@pytest.mark.parametrize(
    ("feature", "arguments", "message"),
    [
        ("7", {}, "feature '7': expected a model and a number, as in A:1380"),
        ("A:x", {}, "feature 'A:x': expected a model and a number"),
        ("A:-1", {}, "feature 'A:-1': expected a model and a number"),
        ("C:7", {}, "no model 'C'; the nearest of A, B is"),
        ("A:128", {}, "the SAE of A with width 128 has features 0 to 127, found 128"),
        ("A:7", {"width": 60}, "no SAE of A with width 60; the nearest of 32, 64, 128 is 64"),
        ("A:7", {"sae_seed": 3}, "no SAE of A, width 128, with seed 3; the nearest of 0, 1 is 1"),
        ("A:7", {"width": 64, "sae_seed": 1}, "no SAE of A, width 64, with seed 1; the nearest of 0 is 0"),
        ("A:7", {"times": 2, "value": 1}, "times, value and ablate exclude each other"),
        ("A:7", {"times": 2, "ablate": True}, "times, value and ablate exclude each other"),
        ("A:7", {"value": math.nan}, "values of an intervention: expected finite numbers, found NaN"),
        ("A:7", {"times": math.inf}, "times of an intervention: expected finite numbers, found NaN or infinity"),
        ("A:7", {"value": 1, "n_tokens": 0}, "at least 1 token and 1 sample to write"),
        ("A:7", {"value": 1, "temperature": -1}, "temperature: expected a number of at least 0"),
        ("A:7", {"value": 1, "seed": -1}, "seed: expected a whole number of at least 0, found -1"),
        ("A:7", {"value": 1, "prompt": "a<|bos|>"}, r"prompt: '<\|bos\|>' is a special token, which no text holds"),
    ],
)
def test_refusals(study: Study, feature: str, arguments: dict, message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        study.steer(feature, **arguments)


def test_features_that_never_fire_and_those_without_a_partner(study: Study) -> None:
    store = study.stores[0]
    dead = np.flatnonzero(~store.alive)
    assert dead.size  # an SAE of 128 features, hardly trained
    with pytest.raises(UniversalityError, match=rf"A:{dead[0]}, width 128: feature {dead[0]} never fires"):
        study.steer(f"A:{dead[0]}")
    alone = study.steer(f"A:{dead[0]}", value=2, n_tokens=2)
    assert alone.partners == ()
    assert str(alone).startswith(f"Feature A:{dead[0]} has no partner in B\n")


def test_a_run_without_its_models_says_so(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, copy_function=shutil.copyfile)
    (folder / "models" / "A" / "config.json").unlink()
    (folder / "models" / "A" / "model.safetensors").unlink()
    with Study.open(folder) as study, pytest.raises(ModelError, match="model 'A' cannot be loaded"):
        study.steer("A:3", value=1)


def test_nothing_that_a_model_writes_reaches_the_terminal_as_a_command() -> None:
    feature = FeatureName("A\x1b[2J", 8, 0, 3)
    text = SteeredText(feature, "ablated", ("\x1b[31m", "a\r", "\udcd7", "\udca9", "\n"), ("\u202e", " b" * 60))
    score = PartnerScore(FeatureName("B", 8, 0, 4), 0.5, 0.4, 0.6, 0.1, 0.05, {"overall": 0.01})
    shown = str(Steering(feature, (text,), (score,), ("C\x9b",), "\x1b]0;x\x07", Sampling()))
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "U+001B[31maU+000Dש⏎" in shown
    assert "U+202E" in shown
    assert "has no partner in CU+009B\n" in shown
    assert max(map(len, shown.splitlines())) <= 76
    assert "  held-out r 0.50 (95%: 0.40 to 0.60)\n  by chance below 0.10 for 95% of features; q 0.01 overall" in shown


def test_the_command_prints_the_same(finished: Path, study: Study, pair: tuple[int, int]) -> None:
    feature = f"A:{pair[0]}"
    done = call_here(
        "steer", finished, "--feature", feature, "--times", "2", "--prompt", "The cat", "--tokens", "9", "--seed", "4",
        "--temperature", "0.7",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = study.steer(feature, "The cat", times=2, n_tokens=9, seed=4, temperature=0.7)
    assert done.stdout == f"{expected}\n"
    assert done.stdout.count("plain\n") == 2
    refused = call_here("steer", finished, "--feature", "C:1")
    assert refused.returncode == 2
    assert "no model 'C'" in refused.stderr
    refused = call_here("steer", finished, "--feature", feature, "--seed", "-1")
    assert refused.returncode == 2
    assert "--seed" in refused.stderr


def test_a_run_of_token_ids_takes_ids(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder, copy_function=shutil.copyfile)
    (folder / "corpus" / "tokenizer.json").unlink()
    with Study.open(folder) as study:
        by_ids = study.steer("A:3", "17 5", value=1, n_tokens=4)
        assert all(token.strip().isdecimal() for token in by_ids.texts[0].plain)
        with pytest.raises(
            UniversalityError, match="corpus is token ids without a tokenizer; expected ids as in '17 5'"
        ):
            study.steer("A:3", "The cat", value=1)
