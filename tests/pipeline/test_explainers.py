"""Models and settings from options of the command line."""

from pathlib import Path

import pytest

from universality.errors import ConfigError
from universality.labels import Endpoint, TokenPrices
from universality.pipeline.explainers import ModelOptions, read_label_settings


def test_an_endpoint_has_the_options_that_were_given() -> None:
    options = ModelOptions(
        "m", "http://127.0.0.1:9/v1", "MY_KEY", price_in=0.1, price_out=0.4, temperature="none",
        options=("reasoning_effort=low", "top_p=0.9"), at_once=3, timeout=7.0,
    )  # fmt: skip
    opened = options.open("explainer")
    model = opened.model
    assert isinstance(model, Endpoint)
    assert (model.key_variable, model.at_once, model.timeout) == ("MY_KEY", 3, 7.0)
    assert model.settings == {"seed": 0, "reasoning_effort": "low", "top_p": 0.9}
    assert opened.prices == TokenPrices(0.1, 0.4)
    assert ModelOptions("m").open("explainer").prices is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ModelOptions(), "explainer: expected --model .* found neither"),
        (ModelOptions("m", local="folder"), "found both"),
        (ModelOptions(local="folder", url="http://127.0.0.1/v1"), "--url, --key-from and --option are of servers"),
        (ModelOptions("m", price_in=1), "give both prices"),
        (ModelOptions("m", price_in=-1, price_out=1), "prices of at least 0"),
        (ModelOptions("m", temperature="warm"), "--temperature: expected a number of at least 0, or none"),
        (ModelOptions("m", temperature="-1"), "--temperature"),
        (ModelOptions("m", options=("low",)), "--option low: expected KEY=VALUE"),
        (ModelOptions("m", options=("a=[",)), "is not a YAML value"),
    ],
)
def test_options_that_cannot_be_used(options: ModelOptions, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options.open("explainer")


def test_settings_from_a_file_and_over_it(tmp_path: Path) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text("explain_top: 5\nseed: 3\nscores: [fuzzing]\n")
    settings = read_label_settings(file, ["seed=4"])
    assert (settings.explain_top, settings.seed, settings.scores) == (5, 4, ("fuzzing",))
    assert read_label_settings(None).n_explaining == 49


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("explain_tops: 5", (), "unknown key explain_tops; did you mean explain_top"),
        ("zzz: 5", (), "unknown key zzz; expected some of scores"),
        ("- 5", (), "expected settings, one KEY: VALUE a line, found list"),
        ("", (), "an empty file"),
        ("a: [", (), "cannot be read as YAML"),
        ("seed: 1", ("seed",), "--set seed: expected KEY=VALUE"),
        ("seed: 1", ("seed=2", "seed=2"), "seed is given more than once"),
        ("seed: -1", (), "seed must be at least 0"),
        ("scores: [guessing]", (), "scores must be"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str, overrides: tuple[str, ...], said: str) -> None:
    file = tmp_path / "labels.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_label_settings(file, overrides)


def test_embeddings_need_a_model_and_a_server() -> None:
    assert ModelOptions("m").embedding(None, None) is None
    assert ModelOptions("m").embedding("e", "http://127.0.0.1:9/v1") is not None
    with pytest.raises(ConfigError, match="--embed-url: give --embed-model"):
        ModelOptions("m").embedding(None, "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="--embed-model: give --embed-url"):
        ModelOptions(local="folder").embedding("e", None)
