"""Settings refuse what their annotations do not allow, in Python and through pydantic alike."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Gt, MinLen
from pydantic import TypeAdapter, ValidationError

from universality.checked_settings import EXACT, CheckedSettings, Count, Share, limits_in_words, texts_of
from universality.errors import ConfigError


@dataclass(frozen=True)
class Base(CheckedSettings):
    size: Count = 4
    """Number of
    things."""
    exact: Annotated[int, EXACT] = 1
    share: Share = 0.5
    """Share of them."""


@dataclass(frozen=True)
class Settings(Base):
    rate: Annotated[float | None, Gt(0)] = None
    """A rate, or None."""
    limit: Count | None = None
    names: Annotated[tuple[Literal["a", "b"], ...], MinLen(1)] = ("a",)
    share: Share = 0.25
    """Share of these."""
    flag: bool = False


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "^size must be at least 1, found 0$"),
        ({"size": 1.0}, "^size must be a whole number, found 1.0$"),
        ({"size": True}, "^size must be a whole number, found True$"),
        ({"size": None}, "^size must be a whole number, found None$"),
        ({"share": 1.5}, "^share must be at least 0 and at most 1, found 1.5$"),
        ({"share": float("nan")}, "^share must be finite, found nan$"),
        ({"share": "x"}, "^share must be a number, found 'x'$"),
        ({"rate": 0}, "^rate must be more than 0, found 0$"),
        ({"rate": float("inf")}, "^rate must be finite, found inf$"),
        ({"limit": 0}, "^limit must be at least 1, found 0$"),
        ({"names": "a"}, "^names must be a list, found 'a'$"),
        ({"names": []}, r"^names must hold at least 1, found \[\]$"),
        ({"names": ["c"]}, "^names must be a or b, found 'c'$"),
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**values)


def test_values_become_plain_and_are_recorded() -> None:
    settings = Settings(np.int32(3), share=1, rate=np.float32(0.5), names=["b", "a"])
    assert settings == Settings(3, share=1.0, rate=0.5, names=("b", "a"))
    assert [type(value) for value in settings.as_dict().values()] == [int, int, float, float, type(None), list, bool]
    assert settings.as_dict() == {
        "size": 3, "exact": 1, "share": 1.0, "rate": 0.5, "limit": None, "names": ["b", "a"], "flag": False,
    }  # fmt: skip


def test_pydantic_reads_the_same_annotations() -> None:
    read = TypeAdapter(Settings).validate_python
    assert read({"size": 2, "rate": 1}) == Settings(2, rate=1.0)
    for values, problem in [
        ({"size": 0}, "greater_than_equal"),
        ({"rate": 0}, "greater_than"),
        ({"names": []}, "too_short"),
        ({"exact": True}, "int_type"),
        ({"exact": 5.0}, "int_type"),
    ]:
        with pytest.raises(ValidationError) as raised:
            read(values)
        assert raised.value.errors()[0]["type"] == problem
    assert read({"size": "5"}).size == 5  # what is not marked as exact is converted


def test_texts_are_read_from_the_source_and_a_subclass_replaces_them() -> None:
    assert texts_of(Settings) == {"size": "Number of\nthings.", "share": "Share of these.", "rate": "A rate, or None."}


def test_limits_in_words() -> None:
    assert limits_in_words([]) == ""
    assert limits_in_words([Gt(0.5), EXACT]) == "more than 0.5"
