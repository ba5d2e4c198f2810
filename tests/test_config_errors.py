"""Problems of a configuration are explained in the words of its file: key, expected, found."""

import pytest

from universality.config import parse_config
from universality.errors import ConfigError

MODELS = {"load": {"A": "starter/seed0"}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": MODELS, "sae": {}}, r"unknown key sae; did you mean saes\?"),
        ({"models": MODELS, "saes": {"width": [1]}}, r"unknown key saes\.width; did you mean saes\.widths\?"),
        ({"models": MODELS, "saes": {"zzz": 1}}, r"unknown key saes\.zzz; known: architecture, widths"),
        ({"models": {"train": {"A": {"init": 0, "ordr": 1}}}}, r"did you mean models\.train\.A\.order"),
        (
            {"models": MODELS, "saes": {"tokens": 0}},
            r"saes\.tokens: expected at least 1; found 0$",
        ),
        (
            {"models": MODELS, "saes": {"widths": [-4, 32]}},
            r"saes\.widths\.0: expected at least 1; found -4$",
        ),
        (
            {"models": MODELS, "saes": {"ceiling_seed": -1}},
            r"^configuration: saes\.ceiling_seed: expected 'auto' or at least 0; found -1$",
        ),
        (
            {"models": {**MODELS, "tokenizers": 3}},
            r"^configuration: models\.tokenizers: expected 'own' or a section; found 3$",
        ),
        (
            {"models": MODELS, "saes": {"k": "many"}},
            r"saes\.k: expected an integer or a list of integers; found 'many'$",
        ),
        (
            {"models": MODELS, "saes": {"architecture": "gated"}},
            r"saes\.architecture: expected 'topk', 'batchtopk'.*; found 'gated'$",
        ),
        ({"models": MODELS, "saes": {"k": 5.0}}, r"saes\.k: expected an integer or a list of integers; found 5\.0$"),
        ({"models": MODELS, "saes": {"k": [3, "x"]}}, r"^configuration: saes\.k\.1: expected an integer; found 'x'$"),
        ({"models": MODELS, "saes": 3}, r"saes: expected a section with architecture, widths, .*; found 3$"),
        ({"models": MODELS, "saes": None}, r"saes: expected a section with architecture, .*; found nothing$"),
        ({"models": MODELS, "statistics": {"alpha": 1}}, r"statistics\.alpha: expected less than 1; found 1$"),
        (
            {"models": MODELS, "statistics": {"min_firings": 0}},
            r"statistics\.min_firings: expected at least 1; found 0$",
        ),
        ({"models": MODELS, "families": {"min_cover": 0}}, r"did you mean families\.min_coverage\?"),
        ({"models": MODELS, "families": 3}, r"families: expected a section with min_coverage, .*, bootstrap; found 3$"),
        (
            {"models": {**MODELS, "training": {"epochs": 0}}},
            r"models\.training\.epochs: expected more than 0; found 0$",
        ),
        ({"models": MODELS, "statistics": {"n_strata": 0}}, r"statistics\.n_strata: expected at least 1; found 0$"),
        ({"models": {"train": 5}}, r"models\.train: expected a section; found 5$"),
        ({"models": {"train": {"init": 3}}}, r"models\.train\.init: expected a section with init, order; found 3$"),
        ({"models": {"train": {"A": {"init": 3}}}}, r"models\.train\.A\.order: missing; expected a value$"),
        ({"models": MODELS, "corpus": {"source": 5}}, r"corpus\.source: expected text or a list of texts; found 5$"),
        ({"models": MODELS, "saes": {"widths": "x"}}, r"saes\.widths: expected a list; found 'x'$"),
        ({"models": MODELS, "saes": {"widths": []}}, r"saes\.widths: expected at least 1 of them; found \[\]$"),
        ({"models": MODELS, "saes": {"l1": "small"}}, r"saes\.l1: expected a number; found 'small'$"),
        (
            {"models": MODELS, "saes": {"learning_rate": float("inf")}},
            r"learning_rate: expected a finite number; found inf",
        ),
        ({"models": MODELS, "saes": {"tokens": "2.5e6"}}, r"integer; found '2\.5e6', text to YAML; write 2500000$"),
        ({"models": MODELS, "saes": {"tokens": 1.5}}, r"saes\.tokens: expected an integer; found 1\.5$"),
        (
            {"models": MODELS, "saes": {"data_parallel": "x"}},
            r"saes\.data_parallel: expected true or false; found 'x'$",
        ),
        ({"models": MODELS, "corpus": {"held_out": 1}}, r"corpus\.held_out: expected less than 1; found 1$"),
        ({"models": MODELS, "saes": {"k": "x" * 99}}, r"found 'x{59}…$"),
        ({}, r"models: missing; expected a section with load, train, architecture"),
    ],
)
def test_bad_values_are_explained(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(values)


def test_each_problem_is_one_line() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config({"models": MODELS, "saes": {"k": "x", "tokens": 0}, "sae": {}, "hook": 3}, where="c.yaml")
    lines = str(raised.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "hook",
        "saes.k",
        "saes.tokens",
        "unknown key sae; did you mean saes?",
    ]
