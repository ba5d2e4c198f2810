"""What is wrong with a configuration, one line a problem, in the words of its file rather than of its validator."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError

# Members of a union, in pydantic's paths.
_MEMBERS = {"int", "constrained-int", "list[int]", "str", "list[str]", "dict[str,str]", "[key]"}
_LISTS = {"list[int]": "a list of integers", "list[str]": "a list of texts"}
# pydantic's names of a problem, of models and of dataclasses.
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_NO_SECTION = ("model_type", "dataclass_type")
_LONGEST = 60  # characters of a value that are shown


def explain(where: str, error: ValidationError, root: type[BaseModel]) -> str:
    """All problems of a configuration, one a line.

    Parameters
    ----------
    where
        The file's name.
    root
        The model that refused it: unknown keys are compared with those that it has.
    """
    return "\n".join(f"{where}: {line}" for line in _lines(_by_path(error), root))


def _by_path(error: ValidationError) -> dict[tuple[str, ...], list[Any]]:
    """Problems by key. Where a value could be one thing or a list of them, what is wrong inside the list says more."""
    found: dict[tuple[str, ...], list[Any]] = {}
    for problem in error.errors():
        path = tuple(str(part) for part in problem["loc"] if not _is_member(part))
        found.setdefault(path, []).append(problem)
    inside = {path[:-1] for path, problems in found.items() if any(map(_is_member, problems[0]["loc"]))}
    return {path: problems for path, problems in found.items() if path not in inside or len(problems) > 1}


def _is_member(part: object) -> bool:
    return part in _MEMBERS or str(part).startswith("literal[")


def _lines(found: dict[tuple[str, ...], list[Any]], root: type[BaseModel]) -> Iterator[str]:
    for path, problems in found.items():
        name, first = ".".join(path) or "configuration", problems[0]
        if first["type"] in _UNKNOWN:
            yield f"unknown key {name}; {_nearest(path, root)}"
        elif first["type"] == "missing":
            yield f"{name}: missing; expected {_wanted(first, path, root)}"
        elif first["type"] == "value_error":
            text = first["msg"].removeprefix("Value error, ")
            yield f"{name}: {text}" if path else text
        else:
            wanted = " or ".join(dict.fromkeys(_wanted(problem, path, root) for problem in problems))
            yield f"{name}: expected {wanted}; found {_shown(first['input'])}{_hint(first)}"


def _wanted(problem: Any, path: tuple[str, ...], root: type[BaseModel]) -> str:
    """What should have stood there, to follow "expected"."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in (*_NO_SECTION, "missing"):
        section = _section(path, root)
        return f"a section with {', '.join(_keys(section))}" if section else "a value"
    limits = {
        "greater_than_equal": "at least {ge:g}",
        "greater_than": "more than {gt:g}",
        "less_than_equal": "at most {le:g}",
        "less_than": "less than {lt:g}",
        "literal_error": "{expected}",
        "too_short": "at least {min_length} of them",
    }
    if kind in limits:
        return limits[kind].format(**context)
    if kind == "list_type":
        return _LISTS.get(str(problem["loc"][-1]), "a list")
    names = {"int": "an integer", "float": "a number", "bool": "true or false", "string": "text", "dict": "a section"}
    return names.get(kind.split("_")[0], str(problem["msg"]).removeprefix("Input should be "))


def _hint(problem: Any) -> str:
    """For whoever writes 2.5e6: without a sign in its exponent YAML takes it for text."""
    value = problem["input"]
    if problem["type"] not in ("int_parsing", "float_parsing") or not re.fullmatch(r"[-+\d.]+[eE]\d+", value):
        return ""
    number = float(value)
    return f", text to YAML; write {int(number) if number.is_integer() else number}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _nearest(path: tuple[str, ...], root: type[BaseModel]) -> str:
    known = _keys(_section(path[:-1], root) or root)
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
    return f"did you mean {'.'.join([*path[:-1], near[0]])}?" if near else f"known: {', '.join(known)}"


def _section(path: tuple[str, ...], root: type) -> type | None:
    """The model or dataclass that a key holds; None where it is a plain value."""
    held: Any = root
    for part in path:
        if getattr(held, "__origin__", None) is dict:
            held = held.__args__[1]
        elif _is_section(held) and part in _keys(held):
            held = get_type_hints(held)[part]
        else:
            return None
    return held if _is_section(held) else None


def _is_section(held: Any) -> bool:
    return isinstance(held, type) and (is_dataclass(held) or issubclass(held, BaseModel))


def _keys(section: type) -> list[str]:
    return [field.name for field in fields(section)] if is_dataclass(section) else list(section.model_fields)  # type: ignore[attr-defined]
