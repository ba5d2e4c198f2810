"""Messages for the problems of a configuration: one line each, in the words of its file rather than of pydantic."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError

# Parts of pydantic's paths that name a member of a union instead of a key.
_MEMBERS = {"int", "constrained-int", "list[int]", "str", "list[str]", "dict[str,str]", "[key]"}
_LISTS = {"list[int]": "a list of integers", "list[str]": "a list of texts"}
# pydantic's types of these problems, first for models, then for dataclasses.
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_NO_SECTION = ("model_type", "dataclass_type")
_LONGEST = 60  # characters of a value that are shown


def explain(where: str, error: ValidationError, root: type[BaseModel]) -> str:
    """Describe all problems of a configuration, one per line.

    Parameters
    ----------
    where
        Name of the file.
    error
        Error of the validation.
    root
        The model that raised it; an unknown key is compared with the model's own.
    """
    return "\n".join(f"{where}: {line}" for line in _lines(_by_path(error), root))


def _by_path(error: ValidationError) -> dict[tuple[str, ...], list[Any]]:
    """Group problems by key.

    If a value may be one thing or a list of them, pydantic reports problems for both. A problem inside the list is more
    specific, so that the one of the value itself is dropped.
    """
    by_path: dict[tuple[str, ...], list[Any]] = {}
    for problem in error.errors():
        path = tuple(str(part) for part in problem["loc"] if not _is_member(part))
        by_path.setdefault(path, []).append(problem)
    inside = {path[:-1] for path, problems in by_path.items() if any(map(_is_member, problems[0]["loc"]))}
    return {path: problems for path, problems in by_path.items() if path not in inside or len(problems) > 1}


def _is_member(part: object) -> bool:
    return part in _MEMBERS or str(part).startswith("literal[")


def _lines(by_path: dict[tuple[str, ...], list[Any]], root: type[BaseModel]) -> Iterator[str]:
    for path, problems in by_path.items():
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
    """Describe the value that was expected."""
    problem_type, context = problem["type"], problem.get("ctx", {})
    if problem_type in (*_NO_SECTION, "missing"):
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
    if problem_type in limits:
        return limits[problem_type].format(**context)
    if problem_type == "list_type":
        return _LISTS.get(str(problem["loc"][-1]), "a list")
    names = {"int": "an integer", "float": "a number", "bool": "true or false", "string": "text", "dict": "a section"}
    return names.get(problem_type.split("_")[0], str(problem["msg"]).removeprefix("Input should be "))


def _hint(problem: Any) -> str:
    """Advise whoever writes 2.5e6, which YAML 1.1 takes for text since the exponent has no sign."""
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
    keys = _keys(_section(path[:-1], root) or root)
    near = difflib.get_close_matches(path[-1], keys, n=1, cutoff=0.5)
    return f"did you mean {'.'.join([*path[:-1], near[0]])}?" if near else f"known: {', '.join(keys)}"


def _section(path: tuple[str, ...], root: type) -> type | None:
    """Find the model or dataclass at a path; None if the key holds a plain value."""
    annotation: Any = root
    for part in path:
        if getattr(annotation, "__origin__", None) is dict:
            annotation = annotation.__args__[1]
        elif _is_section(annotation) and part in _keys(annotation):
            annotation = get_type_hints(annotation)[part]
        else:
            return None
    return annotation if _is_section(annotation) else None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel))


def _keys(section: type) -> list[str]:
    return [field.name for field in fields(section)] if is_dataclass(section) else list(section.model_fields)  # type: ignore[attr-defined]
