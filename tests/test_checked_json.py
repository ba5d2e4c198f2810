"""Every value of a foreign JSON file is checked for its type, and errors name file and key."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universality.checked_json import LARGEST, Settings
from universality.errors import FormatError


def settings(**values: Any) -> Settings:
    return Settings(values, "cfg.json")


def test_values_of_the_right_type_come_back() -> None:
    s = settings(n=3, zero=0, x=0.5, yes=True, name="a", file="b.bin", names=["a", "b"], ns=[1, 2], part={"n": 1})
    assert (s.integer("n"), s.count("zero"), s.number("x"), s.flag("yes")) == (3, 0, 0.5, True)
    assert (s.text("name"), s.file_name("file"), s.texts("names"), s.integers("ns")) == (
        "a",
        "b.bin",
        ("a", "b"),
        (1, 2),
    )
    signed = settings(low=-0.5, whole=-3, null=None)
    assert (signed.real("low"), signed.real("whole")) == (-0.5, -3.0)
    assert np.isnan([signed.real("null"), signed.real("absent")]).all()
    assert s.section("part").integer("n") == 1
    assert [part.integer("n") for part in settings(parts=[{"n": 1}, {"n": 2}]).sections("parts")] == [1, 2]
    assert "n" in s
    assert "absent" not in s


def test_defaults_stand_for_what_is_missing_or_null() -> None:
    s = settings(null=None)
    assert (s.integer("null", None), s.number("absent", 0.5), s.text("absent", "x")) == (None, 0.5, "x")
    assert s.integers("absent") == ()
    assert s.section("absent").values == {}
    with pytest.raises(FormatError, match=r"cfg\.json: incomplete, it lacks null, absent"):
        s.require("null", "absent")


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("integer", 0, "a whole number from 1 to 2^40, found 0"),
        ("integer", True, "a whole number from 1 to 2^40, found True"),
        ("integer", 2**41, "a whole number from 1 to 2^40, found 2199023255552"),
        ("count", -1, "a whole number from 0 to 2^40, found -1"),
        ("number", "1", "a number above 0, found '1'"),
        ("number", 0.0, "a number above 0, found 0.0"),
        ("real", "1", "a number or null, found '1'"),
        ("real", True, "a number or null, found True"),
        ("real", float("inf"), "a number or null, found inf"),
        ("flag", 1, "true or false, found 1"),
        ("text", 5, "a string, found 5"),
        ("file_name", "../x", "the name of a file beside it, without a path, found '../x'"),
        ("file_name", ".hidden", "the name of a file beside it, without a path, found '.hidden'"),
        ("texts", ["a", 1], "a list of strings, found ['a', 1]"),
        ("integers", [1.5], "a list of whole numbers, found [1.5]"),
        ("section", [], "an object, found []"),
        ("sections", [1], "a list of objects, found [1]"),
        ("text", ["x" * 99], "a string, found ['" + "x" * 55 + "..."),
    ],
)
def test_values_of_other_types_are_refused_by_key(method: str, value: Any, message: str) -> None:
    with pytest.raises(FormatError) as raised:
        getattr(settings(key=value), method)("key")
    assert str(raised.value) == f"cfg.json: key must be {message}"


def test_files_that_are_no_object_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cfg.json"
    path.write_text(json.dumps({"n": 1}))
    assert Settings.read(path).integer("n") == 1
    path.write_text('{"n": NaN}')
    with pytest.raises(FormatError, match=r"n must be a number above 0, found 'NaN'"):
        Settings.read(path).number("n")
    for content, message in (("[1]", "expected a JSON object, found"), ("{", "cannot be read as JSON")):
        path.write_text(content)
        with pytest.raises(FormatError, match=message):
            Settings.read(path)
    path.write_bytes(b" " * (LARGEST + 1))
    with pytest.raises(FormatError, match="a configuration of 16,777,217 bytes; expected at most 16,777,216"):
        Settings.read(path)
    with pytest.raises(FormatError, match="cannot be read as JSON"):
        Settings.read(tmp_path / "absent.json")
