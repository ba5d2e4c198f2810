"""A default has one value, whether a YAML file leaves it out or a call in Python does."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from universality import calibrate
from universality.config import CorpusConfig, FeaturesConfig, SAEConfig, keys_of
from universality.corpus.corpus import build_corpus
from universality.family.building import families
from universality.family.edge_rule import EdgeRule, FamilySettings
from universality.features.collection import collect
from universality.sae import SAESpec
from universality.statistics import bootstrap_intervals, crosscoder_agreement
from universality.statistics.null_settings import NullSettings

RENAMED = {"nulls": "null", "replicates": "n_replicates", "bootstrap": "draws"}
DIFFER = {
    "products": "the pipeline asks the machine (auto); a trainer in Python takes what it is told",
    "nested": "None derives the nested widths from saes.widths, which a single SAE does not know",
}


def of_call(call: Callable[..., Any]) -> dict[str, Any]:
    """Defaults of a function or a class."""
    parameters = inspect.signature(call).parameters.items()
    return {name: p.default for name, p in parameters if p.default is not inspect.Parameter.empty}


def of_section(section: type) -> dict[str, Any]:
    """Defaults of a section of the configuration, lists as tuples."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in keys_of(section).items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in defaults.items()}


@pytest.mark.parametrize(
    ("section", "call", "least"),
    [
        (NullSettings, calibrate, 6),
        (NullSettings, bootstrap_intervals, 2),
        (NullSettings, crosscoder_agreement, 4),
        (FamilySettings, families, 7),
        (SAEConfig, SAESpec, 9),
        (CorpusConfig, build_corpus, 7),
        (FeaturesConfig, collect, 1),
    ],
)
def test_the_configuration_and_python_agree(section: type, call: Callable[..., Any], least: int) -> None:
    written, called = of_section(section), of_call(call)
    names = {name: name if name in called else RENAMED.get(name, name) for name in written if name not in DIFFER}
    shared = {name: other for name, other in names.items() if other in called}
    if call is calibrate:
        del shared["nulls"]  # None stands for all nulls of the measure, which are those of the section for activations
    assert len(shared) >= least
    assert {name: written[name] for name in shared} == {name: called[other] for name, other in shared.items()}


def test_the_rule_of_families_is_the_configurations() -> None:
    assert FamilySettings().rule == EdgeRule()
    assert EdgeRule.min_firings == NullSettings.min_firings
