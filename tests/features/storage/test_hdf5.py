"""Arrays and text come back as they were written, with their encoding and checksum; errors name the file."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.errors import FormatError, UniversalityError
from universality.features.storage.checksums import checksum_of_dataset
from universality.features.storage.hdf5 import (
    check_text,
    get_text,
    make_group,
    read_strings,
    read_text,
    reading,
    set_text,
    to_json,
    write_array,
    write_strings,
    write_text,
)


def test_what_is_written_is_read_with_its_encoding_and_checksum(tmp_path: Path) -> None:
    names = [f"name {i} é" for i in range(9000)]  # longer than a chunk
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = make_group(file, "group")
        sums = {
            "array": write_array(group, "array", np.arange(5), "<i4"),
            "names": write_strings(group, "names", names),
            "none": write_strings(group, "none", []),
            "text": write_text(group, "text", "é" * 10),
        }
        assert_array_equal(group["array"][:], np.arange(5))
        assert read_strings(group["names"]) == tuple(names)
        assert read_strings(group["none"]) == ()
        assert read_text(group["text"]) == "é" * 10
        assert sums == {name: checksum_of_dataset(group[name]) for name in sums}
        encodings = {name: get_text(group[name], "encoding-type") for name in sums}
        assert encodings == {"array": "array", "names": "string-array", "none": "string-array", "text": "string"}


def test_attributes_of_either_length_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        set_text(file, "fixed", "é")
        file.attrs["variable"] = "é"
        assert [get_text(file, name) for name in ("fixed", "variable", "absent")] == ["é", "é", None]


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(FormatError, match=r"a\.h5: kinds: 'a\\x00b' "):
        check_text("a.h5: kinds", ["fine", "a\0b"])
    with pytest.raises(FormatError, match=r"a\.h5: provenance must be a dict that JSON can hold: Out of range"):
        to_json(Path("a.h5"), "provenance", {"x": float("nan")})
    assert to_json(Path("a.h5"), "provenance", {"b": 1, "a": 2}).index('"a"') < 5


def test_errors_on_damaged_bytes_name_the_file_and_ours_pass() -> None:
    with pytest.raises(FormatError, match=r"a\.h5: cannot read tokens: lost; the file is truncated or corrupt"):  # noqa: SIM117
        with reading(Path("a.h5"), "tokens"):
            raise OSError("lost")
    with pytest.raises(UniversalityError, match=r"^as it is$"):  # noqa: SIM117
        with reading(Path("a.h5"), "tokens"):
            raise UniversalityError("as it is")
