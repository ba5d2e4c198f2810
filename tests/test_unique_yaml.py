"""A key that a mapping has twice is refused; one that is merged in may be replaced."""

import pytest
import yaml

from universality.unique_yaml import load_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {load: {A: starter/seed0, A: starter/seed1}}", "'A' is given twice, on lines 1 and 1"),
        ("name: x\nmodels:\n  load: {A: starter/seed0}\nname: y\n", "'name' is given twice, on lines 1 and 4"),
        ("saes:\n  - {k: 1}\n  - {k: 1, l0: 2, k: 3}\n", "'k' is given twice, on lines 3 and 3"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_both_lines(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=f"{message}; leave one out"):
        load_yaml(text)


def test_a_key_may_replace_one_that_is_merged_in() -> None:
    assert load_yaml("base: &m {k: 4}\nsaes: {<<: *m, k: 8}\n")["saes"] == {"k": 8}


def test_values_that_cannot_be_keys_are_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="found unhashable key"):
        load_yaml("{[1]: 2}")
