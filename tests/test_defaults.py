"""A default has one value, whether a YAML file leaves it out or a call in Python does."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from universality import calibrate, defaults
from universality.config import CorpusConfig, FamiliesConfig, FeaturesConfig, SAEConfig, StatisticsConfig
from universality.corpus.corpus import build_corpus
from universality.family import EdgeRule
from universality.family.building import families
from universality.features.collection import collect
from universality.sae import SAESpec
from universality.statistics import bootstrap_intervals, crosscoder_agreement

RENAMED = {"nulls": "null", "replicates": "n_replicates", "bootstrap": "draws"}
DIFFER = {
    "products": "the pipeline asks the machine (auto); a trainer in Python takes what it is told",
    "nested": "None derives the nested widths from saes.widths, which a single SAE does not know",
}


def of_call(call: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of a function or a class."""
    known = inspect.signature(call).parameters.items()
    return {name: p.default for name, p in known if p.default is not inspect.Parameter.empty}


def of_section(section: Any) -> dict[str, Any]:
    """Defaults of a section of the configuration, lists as tuples."""
    found = {name: field.get_default(call_default_factory=True) for name, field in section.model_fields.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


@pytest.mark.parametrize(
    ("section", "call", "least"),
    [
        (StatisticsConfig, calibrate, 7),
        (StatisticsConfig, bootstrap_intervals, 2),
        (StatisticsConfig, crosscoder_agreement, 4),
        (FamiliesConfig, families, 7),
        (FamiliesConfig, EdgeRule, 5),
        (SAEConfig, SAESpec, 9),
        (CorpusConfig, build_corpus, 7),
        (FeaturesConfig, collect, 1),
    ],
)
def test_the_configuration_and_python_agree(section: Any, call: Callable[..., Any], least: int) -> None:
    written, called = of_section(section), of_call(call)
    names = {name: name if name in called else RENAMED.get(name, name) for name in written if name not in DIFFER}
    shared = {name: other for name, other in names.items() if other in called}
    assert len(shared) >= least
    assert {name: written[name] for name in shared} == {name: called[other] for name, other in shared.items()}


def test_every_setting_of_the_statistics_is_one_of_calibrate() -> None:
    asked = StatisticsConfig().for_calibrate()
    assert set(asked) == {RENAMED["nulls"] if name == "nulls" else name for name in StatisticsConfig.model_fields}
    assert set(asked) <= set(inspect.signature(calibrate).parameters)


def test_the_rule_of_families_is_the_configurations() -> None:
    rule = {f.name: getattr(EdgeRule(), f.name) for f in dataclasses.fields(EdgeRule)}
    assert rule == {name: getattr(FamiliesConfig(), name) for name in rule}
    assert rule["min_firings"] == defaults.MIN_FIRINGS
