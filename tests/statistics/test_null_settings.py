import inspect
from dataclasses import fields

import pytest

from universality import calibrate
from universality.errors import ConfigError
from universality.statistics.null_settings import NullSettings


def test_every_setting_is_one_of_calibrate() -> None:
    keywords = NullSettings().for_calibrate()
    assert set(keywords) == {"null" if field.name == "nulls" else field.name for field in fields(NullSettings)}
    assert set(keywords) <= set(inspect.signature(calibrate).parameters)


def test_a_null_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected each null once, found kind, kind; leave the second out"):
        NullSettings(["kind", "kind"])
