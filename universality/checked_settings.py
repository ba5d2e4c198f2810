"""Settings as frozen dataclasses, whose annotations state the values that are allowed.

A subclass declares each setting once: its name, type, range and default on one line, its text beneath. The Python
functions take their defaults from it, and the configuration makes a section of it, since pydantic reads the same
annotations; neither needs to import the other.
"""

import ast
import inspect
import math
import operator
import textwrap
from collections.abc import Iterable
from dataclasses import fields
from itertools import pairwise
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from universality.errors import ConfigError


class _Exact:
    """Marks a number that YAML must give as one: pydantic would take true for 1 and 5.0 for 5."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Called by pydantic, which this module does not import: training and stores work without it."""
        return handler(source) | {"strict": True}


EXACT = _Exact()
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]
Cosine = Annotated[float, Ge(-1), Le(1)]

_BOUNDS = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "more than"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "less than"),
}


class CheckedSettings:
    """Base of frozen dataclasses that refuse values outside the ranges of their annotations.

    Numbers of NumPy become Python's, lists (as JSON and YAML give them) become what the annotation says.

    Raises
    ------
    ConfigError
        If a value has another type or is out of range; numbers must be finite.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Dropout(CheckedSettings):
    ...     rate: ShareBelowOne = 0.5
    >>> Dropout(rate=0).rate
    0.0
    >>> Dropout(rate=1.0)
    Traceback (most recent call last):
    universality.errors.ConfigError: rate must be at least 0 and less than 1, found 1.0
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            object.__setattr__(self, field.name, checked(field.name, getattr(self, field.name), hints[field.name]))

    def as_dict(self) -> dict[str, Any]:
        """Settings by name, tuples as lists: the values that JSON and YAML hold."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def checked(name: str, value: Any, annotation: Any) -> Any:
    """Return a value as its annotation says, or refuse it.

    Parameters
    ----------
    name
        The setting's name, for the message.
    value
        Whatever a caller or a file gave.
    annotation
        A number, a list or tuple of numbers, a Literal, or one of these or None; with limits in ``Annotated``.
        Values of other types are returned as they are.

    Raises
    ------
    ConfigError
        If the value does not fit.
    """
    annotation, limits, optional = _unwrapped(annotation)
    if value is None and optional:
        return None
    origin = get_origin(annotation)
    if origin in (list, tuple):
        return _several(name, value, annotation, limits)
    if origin is Literal and value not in get_args(annotation):
        raise ConfigError(f"{name} must be {' or '.join(map(str, get_args(annotation)))}, found {value!r}")
    if annotation in (int, float):
        return _number(name, value, annotation, limits)
    return value


def _unwrapped(annotation: Any) -> tuple[Any, list[Any], bool]:
    """Type, limits, and whether None is allowed: ``Annotated[int | None, Ge(1)]``, ``Annotated[int, Ge(1)] | None``."""
    inner: list[Any]
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        held, limits, optional = _unwrapped(annotation)
        return held, [*limits, *inner], optional
    if get_origin(annotation) in (Union, UnionType):
        held, limits, _ = _unwrapped(get_args(annotation)[0])
        return held, limits, True
    return annotation, [], False


def _several(name: str, value: Any, annotation: Any, limits: list[Any]) -> Any:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{name} must be a list, found {value!r}")
    for limit in limits:
        if isinstance(limit, MinLen) and len(value) < limit.min_length:
            raise ConfigError(f"{name} must hold at least {limit.min_length}, found {value!r}")
    return get_origin(annotation)(checked(name, member, get_args(annotation)[0]) for member in value)  # type: ignore[misc]


def _number(name: str, value: Any, wanted: type[int | float], limits: list[Any]) -> int | float:
    family, words = (Integral, "a whole number") if wanted is int else (Real, "a number")
    if isinstance(value, bool) or not isinstance(value, family):  # True is an Integral
        raise ConfigError(f"{name} must be {words}, found {value!r}")
    number = wanted(value)  # type: ignore[call-overload]
    if not math.isfinite(number):
        raise ConfigError(f"{name} must be finite, found {value!r}")
    if not all(_BOUNDS[key][0](number, bound) for key, bound in _bounds(limits)):
        raise ConfigError(f"{name} must be {limits_in_words(limits)}, found {value!r}")
    return number


def limits_in_words(limits: Iterable[Any]) -> str:
    """Describe the limits of a number.

    Examples
    --------
    >>> limits_in_words([Ge(0), Lt(1)])
    'at least 0 and less than 1'
    """
    return " and ".join(f"{_BOUNDS[key][1]} {bound:g}" for key, bound in _bounds(limits))


def _bounds(limits: Iterable[Any]) -> list[tuple[str, float]]:
    return [(key, getattr(limit, key)) for limit in limits for key in _BOUNDS if hasattr(limit, key)]


def texts_of(settings: type) -> dict[str, str]:
    """Text beneath each setting of a class and its bases, by name.

    Python does not keep the string under an assignment: it is read from the source.
    """
    texts: dict[str, str] = {}
    for base in reversed(settings.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for declared, beneath in pairwise(body):
            if isinstance(declared, ast.AnnAssign) and isinstance(beneath, ast.Expr):
                text = getattr(beneath.value, "value", None)
                if isinstance(text, str):
                    texts[declared.target.id] = inspect.cleandoc(text)  # type: ignore[union-attr]
    return texts
