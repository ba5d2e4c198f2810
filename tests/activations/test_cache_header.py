"""A header of a cache that is incomplete or contradicts itself is refused by key."""

import json
from pathlib import Path

import pytest

from universality.activations import open_cache
from universality.errors import FormatError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": []}, "files must be an object"),
        ({"files": {"../x": {"size": 1, "sha256": ""}}}, "must be the name of a file beside it, without a path"),
        ({"files": {}}, "files: expected blocks.npz, which it refers to"),
        ({"d_in": "x"}, "d_in must be a whole number from 1 to .*, found 'x'"),
        ({"d_in": 2**60}, "d_in must be a whole number from 1 to .*, found 1152921504606846976"),
        ({"d_in": 7}, r"activations-00000.bin: expected \d+ bytes for \d+ tokens of 7 float32 numbers, found \d+"),
        ({"dtype": "float64"}, "dtype: expected one of float32, float16, bfloat16, found 'float64'"),
        ({"shards": {}}, "shards must be a list of objects"),
        ({"shards": []}, r"shards: expected \d+ tokens in all, found 0"),
        (
            {"shards": [{"file": "../../etc/passwd", "blocks": 1, "tokens": 1}]},
            "file must be the name of a file beside",
        ),
        ({"shards": [{"file": "other.bin", "blocks": 1, "tokens": 1}]}, "expected other.bin, which it refers to"),
        ({"shards": [{"file": "blocks.npz", "blocks": -1, "tokens": 1}]}, "blocks must be a whole number from 0"),
        ({"blocks": "/etc/passwd"}, "blocks must be the name of a file beside it"),
        ({"residual": "../residual.npy"}, "residual must be the name of a file beside it"),
        ({"unembedding": 5}, "unembedding must be a string, found 5"),
        ({"model": {}}, "model must be a string"),
        ({"aliases": "blocks"}, "aliases must be a list of strings"),
        ({"read": float("nan")}, "read must be a number above 0"),
    ],
)
def test_a_header_that_cannot_be_is_refused(copy: Path, change: dict[str, object], message: str) -> None:
    header = json.loads((copy / "cache.json").read_text())
    (copy / "cache.json").write_text(json.dumps(header | change))
    with pytest.raises(FormatError, match=message) as caught:
        open_cache(copy)
    assert str(copy / "cache.json") in str(caught.value)


@pytest.mark.parametrize("key", ["unembedding", "model", "shards", "blocks", "d_in", "hook"])
def test_a_header_that_lacks_something_is_refused(copy: Path, key: str) -> None:
    header = json.loads((copy / "cache.json").read_text())
    del header[key]
    (copy / "cache.json").write_text(json.dumps(header))
    with pytest.raises(FormatError, match=rf"cache.json: incomplete, it lacks {key}"):
        open_cache(copy)
