"""Words and columns as the explorer reads them."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universality.report.explorer import LONGEST, Words, packed, write_data


def unpacked(column: dict[str, str]) -> Any:
    return np.frombuffer(base64.b64decode(column["base64"]), f"<{column['type']}")


def test_columns_are_packed_little_endian_and_come_back() -> None:
    values = np.asarray([[1.5, np.nan], [-2, 3e9]])
    np.testing.assert_array_equal(unpacked(packed(values, "f4")), values.astype(np.float32).ravel())
    np.testing.assert_array_equal(unpacked(packed([3, -1], "i2")), [3, -1])


def test_data_are_ascii_and_strict_json(tmp_path: Path) -> None:
    path = write_data(tmp_path, "x", ["</script>\u2028\ud800", 1.0])
    assert path.read_bytes() == b'universality.add("x",["</script>\\u2028\\ud800",1.0]);\n'
    with pytest.raises(ValueError, match="Out of range float"):
        write_data(tmp_path, "x", float("nan"))


def test_words_are_put_together_and_columns_with_them() -> None:
    strings = ["a", "\udcd7", "\udca9", "\x00", "x" * 10_000, "\u202e"]
    words = Words(lambda ids: [strings[i] for i in ids])
    places, focus, (own,) = words.context([0, 1, 2, 3, 0], 2, [0, 1, 7, 2, 0])
    assert [words.texts[i] for i in places] == ["a", "ש", "U+0000", "a"]
    assert (focus, own) == (1, [0, 7, 2, 0])
    assert [words.texts[words.token(i)] for i in (1, 5)] == ["\\xD7", "U+202E"]
    assert len(words.texts[words.token(4)]) == LONGEST
    assert len(set(words.texts)) == len(words.texts)
