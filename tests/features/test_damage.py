"""Whatever is wrong with a file, it is refused with a reason, and a flipped bit anywhere is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from feature_rows import activations, damage, replace, write

from universality.errors import FormatError
from universality.features import Dictionary, FeatureStore
from universality.features.storage.elements import ELEMENTS
from universality.features.storage.hdf5 import label, set_text
from universality.models.unembedding import Unembedding

N = 60
DATASETS = [e.path for e in ELEMENTS if e.encoding in ("array", "string", "string-array")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every element."""
    rng = np.random.default_rng(0)
    unembedding = Unembedding(rng.normal(size=(4, 9)), np.ones(4), np.arange(9) < 8, True)
    weights = Dictionary(
        rng.normal(size=(12, 5)), rng.normal(size=(12, 5)), rng.normal(size=12), rng.normal(size=(12, 4))
    )
    path = tmp_path_factory.mktemp("whole") / "a.h5"
    with write(path, activations(N), dictionary=weights, unembedding=unembedding) as store:
        store.verify()
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    for file in whole.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / whole.name


def attribute(element: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[element].attrs.__setitem__(name, value)


def values(element: str, change: Callable[[np.ndarray], Any]) -> Callable[[h5py.File], None]:
    return lambda file: replace(file, element, change(file[element][...]))


def put(element: str, place: Any, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[element].__setitem__(place, value)


def soft(file: h5py.File) -> None:
    file.move("moments", "elsewhere")
    file["moments"] = h5py.SoftLink("/elsewhere")


def external(file: h5py.File) -> None:
    del file["moments"]
    file["moments"] = h5py.ExternalLink("/etc/passwd", "/")


def virtual(file: h5py.File) -> None:
    del file["tokens/token"]
    layout = h5py.VirtualLayout((N,), "<i4")
    layout[:] = h5py.VirtualSource("b.h5", "tokens/token", (N,))
    dataset = file.create_virtual_dataset("tokens/token", layout)
    set_text(dataset, "encoding-type", "array")
    set_text(dataset, "encoding-version", "0.2.0")


def to_group(file: h5py.File) -> None:
    del file["provenance"]
    file.create_group("provenance")


def to_dataset(file: h5py.File) -> None:
    del file["moments"]
    file["moments"] = 1


def numbers(file: h5py.File) -> None:
    del file["documents/id"]
    label(file.create_dataset("documents/id", data=np.arange(5)), "string-array")


def drop_checksum(file: h5py.File) -> None:
    stated = json.loads(file["checksums"].asstr()[()])
    del stated["moments/sum"]
    replace(file, "checksums", json.dumps(stated))


def escape(file: h5py.File) -> None:
    replace(file, "unembedding/file", "../unembedding.safetensors")


def escape_by_hash(file: h5py.File) -> None:
    replace(file, "unembedding/file", "unembedding-../../../../.safetensors")
    replace(file, "unembedding/sha256", "../../../../".ljust(64, "0"))


def both_shapes(shape: list[int]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        file["by_token"].attrs["shape"] = file["by_feature"].attrs["shape"] = shape

    return edit


def claimed(file: h5py.File) -> None:
    """A million entries of which not one is stored."""
    del file["by_token/data"]
    label(file.create_dataset("by_token/data", (1 << 20,), "<f4", chunks=(1 << 16,)), "array")


def chunked(file: h5py.File) -> None:
    values = file["tokens/token"][:]
    del file["tokens/token"]
    label(file.create_dataset("tokens/token", data=values, chunks=(1 << 23,), maxshape=(None,)), "array")


REFUSED_AT_OPEN = {
    "foreign": (lambda f: f.attrs.__delitem__("format"), "an HDF5 file, but not a feature store: format is None"),
    "other format": (
        lambda f: set_text(f, "format", "x"),
        "not a feature store: format is 'x', expected 'universality-fea",
    ),
    "newer": (attribute("/", "format-version", 3), "in format version 3, this program reads 1 and 2; update it"),
    "no version": (lambda f: f.attrs.__delitem__("format-version"), "written in format version None"),
    "odd version": (attribute("/", "format-version", [1, 1]), "cannot read its attributes"),
    "incomplete": (attribute("/", "complete", False), r"incomplete: its writer was stopped before finish\(\)"),
    "unmarked": (lambda f: f.attrs.__delitem__("complete"), "incomplete: its writer was stopped"),
    "soft link": (soft, "moments is a link to elsewhere; a store holds its own contents"),
    "external link": (external, "moments is a link to elsewhere"),
    "virtual": (virtual, "tokens/token keeps its values in another file"),
    "a group": (to_group, "provenance must be a Dataset, found a Group"),
    "a dataset": (to_dataset, "moments must be a Group, found a Dataset"),
    "old encoding": (
        attribute("tokens/token", "encoding-version", "0.1.0"),
        "must be encoded as array 0.2.0, found array 0.1",
    ),
    "no encoding": (
        lambda f: f["by_token"].attrs.__delitem__("encoding-type"),
        "encoded as csr_matrix 0.1.0, found None",
    ),
    "float64 data": (values("by_token/data", lambda x: x.astype("<f8")), "by_token/data must hold <f4, found float64"),
    "big-endian": (values("tokens/token", lambda x: x.astype(">i4")), "tokens/token must hold <i4, found >i4"),
    "text as numbers": (values("tokens/token", lambda x: b"1"), "tokens/token must hold <i4"),
    "numbers as text": (numbers, "documents/id must hold text, found int64"),
    "flat decoder": (values("dictionary/decoder", np.ravel), r"decoder must have 2 axes, found shape \[60\]"),
    "short bias": (values("dictionary/bias", lambda x: x[1:]), "bias must have n_features = 12 entries, found 11"),
    "short tokens": (values("tokens/position", lambda x: x[1:]), "position must have n_tokens = 60 entries, found 59"),
    "short indices": (values("by_token/indices", lambda x: x[1:]), "by_token/indices must have n_stored = "),
    "short indptr": (values("by_token/indptr", lambda x: x[1:]), r"must have n_tokens \+ 1 = 61 entries, found 60"),
    "short documents": (values("documents/kind", lambda x: x[1:]), "kind must have n_documents = 5 entries, found 4"),
    "negative shape": (
        both_shapes([-1, 12]),
        r"must have one shape \[n_tokens >= 0, n_features >= 1\], found \[-1, 12\]",
    ),
    "no features": (both_shapes([60, 0]), "must have one shape"),
    "three axes": (both_shapes([60, 12, 1]), "must have one shape"),
    "two shapes": (attribute("by_token", "shape", [59, 12]), r"found \[59, 12\] and \[60, 12\]"),
    "larger shape": (both_shapes([61, 12]), r"n_tokens \+ 1 = 62 entries, found 61"),
    "no shape": (lambda f: f["by_token"].attrs.__delitem__("shape"), "cannot read its layout"),
    "NaN moment": (put("moments/sum", 0, np.nan), "moments hold values that no activations have"),
    "infinite max": (put("moments/max", 0, np.inf), "moments hold values that no activations have"),
    "negative squares": (put("moments/sum_sq", 0, -1), "moments hold values that no activations have"),
    "negative count": (put("moments/count", 0, -1), "moments/count must lie in 0 … 60 and add up"),
    "large count": (
        values("moments/count", lambda x: x + 100 * np.eye(12, dtype=int)[0]),
        "moments/count must lie in 0 … 60",
    ),
    "other count": (values("moments/count", lambda x: x[::-1]), "by_feature/indptr must rise by moments/count"),
    "column pointers fall": (put("by_feature/indptr", 5, 0), "by_feature/indptr must rise by moments/count"),
    "row pointers end early": (put("by_token/indptr", -1, 7), "by_token/indptr must rise from 0 to .* found 0 … 7"),
    "row pointers start late": (put("by_token/indptr", 0, 1), "by_token/indptr must rise from 0 to .* found 1"),
    "provenance not JSON": (lambda f: replace(f, "provenance", "{"), "cannot read provenance: Expecting"),
    "provenance a list": (
        lambda f: replace(f, "provenance", "[1]"),
        "provenance must be a JSON object, found '\\[1\\]'",
    ),
    "not UTF-8": (lambda f: replace(f, "provenance", b'{"\xff": 1}'), "cannot read provenance: .*utf-8"),
    "checksum missing": (drop_checksum, r"checksums must name the elements that are there.*moments/sum"),
    "path escape": (escape, "unembedding/file must be 'unembedding-<sha256>.safetensors' with the first 12 digits"),
    "hash escape": (escape_by_hash, "unembedding/file must be"),
    "no mantissa": (attribute("/", "mantissa-bits", 0), "mantissa-bits must lie in 1 … 23, found 0"),
    "much claimed": (claimed, r"by_token/data claims 4,\d+,\d+ bytes in chunks of 262,144, the file holds 0 of them"),
    "large chunks": (chunked, "in chunks of 33,554,432, the file holds .* expected at most 1032 times those"),
    "decoder gone": (lambda f: f.__delitem__("dictionary/decoder"), "dictionary/decoder is missing"),
    "hash gone": (lambda f: f.__delitem__("unembedding/sha256"), "unembedding/sha256 is missing"),
}


@pytest.mark.parametrize("name", REFUSED_AT_OPEN)
def test_refused_at_open(path: Path, name: str) -> None:
    edit, message = REFUSED_AT_OPEN[name]
    damage(path, edit)
    with pytest.raises(FormatError, match=message):
        FeatureStore.open(path)


@pytest.mark.parametrize("element", [e.path for e in ELEMENTS if e.group is None])
def test_every_required_element_is_missed(path: Path, element: str) -> None:
    damage(path, lambda file: file.__delitem__(element))
    with pytest.raises(FormatError, match=rf"{element}.* is missing; the file is damaged or not a feature store"):
        FeatureStore.open(path)


def test_optional_and_unknown_elements(path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file["of another tool"] = 1
        for name in ("encoder", "bias", "residual"):
            del file[f"dictionary/{name}"]
        del file["unembedding"]
        stated = json.loads(file["checksums"].asstr()[()])
        kept = {key: value for key, value in stated.items() if key in file}
        replace(file, "checksums", json.dumps(kept))

    damage(path, edit)
    with FeatureStore.open(path) as store:
        store.verify()
        assert store.unembedding() is None
        assert store.dictionary is not None
        assert store.dictionary.encoder is store.dictionary.bias is store.dictionary.residual is None


@pytest.mark.parametrize("share", [0, 1, 100, 0.2, 0.5, 0.9, 0.99, 0.9999])
def test_truncated(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content)) if 0 < share < 1 else int(share)])
    with pytest.raises(FormatError, match=r"not an HDF5 file, or one with a corrupt beginning|cannot read"):
        FeatureStore.open(path)


def test_not_hdf5(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("token,feature\n")
    with pytest.raises(
        FormatError, match="not an HDF5 file, or one with a corrupt beginning; expected a feature store"
    ):
        FeatureStore.open(tmp_path / "a.h5")


READ: dict[str, tuple[Callable[[h5py.File], None], Callable[[FeatureStore], Any], str]] = {
    "row pointers fall": (put("by_token/indptr", 3, 40), lambda s: s.csr(), "by_token/indptr must rise from 0 to"),
    "row pointers negative": (
        put("by_token/indptr", 3, -4),
        lambda s: s.rows(slice(3, 4)),
        "by_token/indptr must rise",
    ),
    "row pointers too far": (
        put("by_token/indptr", 3, 999),
        lambda s: s.rows(slice(2, 3)),
        "by_token/indptr must rise",
    ),
    "index too large": (
        put("by_token/indices", 0, 12),
        lambda s: s.csr(),
        r"token/indices holds .* 12, expected 0 … 11",
    ),
    "index negative": (put("by_feature/indices", 0, -1), lambda s: s.feature(0), "by_feature/indices holds -1 … "),
    "document unknown": (put("tokens/document", 4, 5), lambda s: s.tokens, "document holds 0 … 5, expected 0 … 4"),
    "kind unknown": (put("tokens/kind/codes", 4, -1), lambda s: s.tokens, "tokens/kind holds -1 … 2, expected 0 … 2"),
    "kind twice": (put("tokens/kind/categories", 1, b"en"), lambda s: s.tokens, "kind/categories names a kind twice"),
    "split unknown": (put("documents/split", 1, b"dev"), lambda s: s.documents, r"documents: document 1 .*split 'dev'"),
    "encoder wider": (
        values("dictionary/encoder", lambda x: np.hstack([x, x])),
        lambda s: s.dictionary,
        r"dictionary: encoder must be \[12, 5\] as the decoder is, found \[12, 10\]",
    ),
    "decoder infinite": (
        put("dictionary/decoder", (0, 0), np.inf),
        lambda s: s.dictionary,
        "decoder holds values that are not finite",
    ),
}


@pytest.mark.parametrize("name", READ)
def test_refused_when_read_and_by_verify(path: Path, name: str) -> None:
    edit, read, message = READ[name]
    damage(path, edit, seal=True)
    with FeatureStore.open(path) as store:
        with pytest.raises(FormatError, match=message):
            read(store)
        with pytest.raises(FormatError):
            store.verify()


def swapped(file: h5py.File) -> None:
    """Two values of one column change places: counts, sums and maxima stay."""
    start = int(file["by_feature/indptr"][0])
    first, second = file["by_feature/data"][start : start + 2]
    file["by_feature/data"][start : start + 2] = [second, first]


VERIFY = {
    "NaN": (put("by_token/data", 5, np.nan), "by_token/data must hold finite values other than 0"),
    "zero": (put("by_feature/data", 5, 0), "by_feature/data must hold finite values other than 0"),
    "repeated index": (values("by_feature/indices", lambda x: x * 0), "by_feature/indices must rise within each row"),
    "other value": (put("by_token/data", 5, 123), "by_token and by_feature hold different matrices"),
    "other row": (swapped, "by_token and by_feature hold different matrices"),
    "other sum": (put("moments/sum", 0, 1e6), "moments are not those of the stored values"),
    "other squares": (put("moments/sum_sq", 0, 1e6), "moments are not those of the stored values"),
    "other max": (put("moments/max", 0, 1e6), "moments are not those of the stored values"),
    "unrounded": (attribute("/", "mantissa-bits", 5), "data must have 5 bits of fraction, as mantissa-bits says"),
    "negative token": (put("tokens/token", 3, -1), "tokens/token must lie in 0 … 2147483647, found -1"),
    "negative position": (put("tokens/position", 3, -1), "tokens/position must lie in 0"),
}


@pytest.mark.parametrize("name", VERIFY)
def test_contradictions_that_verify_finds_though_checksums_agree(path: Path, name: str) -> None:
    edit, message = VERIFY[name]
    damage(path, edit, seal=True)
    with FeatureStore.open(path) as store, pytest.raises(FormatError, match=message):
        store.verify()


def test_moments_added_in_another_order_are_accepted(path: Path) -> None:
    damage(path, values("moments/sum", lambda x: x * (1 + 1e-15)), seal=True)
    with FeatureStore.open(path) as store:
        store.verify()


@pytest.mark.parametrize("element", [name for name in DATASETS if name != "checksums"])
def test_every_dataset_is_under_a_checksum(path: Path, element: str) -> None:
    def flip(file: h5py.File) -> None:
        dataset = file[element]
        raw = np.array(dataset[...])
        flipped = raw.view(np.uint8) if raw.shape else raw.reshape(1).view(np.uint8)
        flipped[-1 if raw.shape else -2] ^= 1
        dataset[...] = raw

    damage(path, flip)
    with pytest.raises(FormatError, match=element.partition("/")[0]), FeatureStore.open(path) as store:
        store.verify()


def test_a_flipped_bit_anywhere_in_the_file_is_found(path: Path) -> None:
    """Found, or in bytes that hold nothing: then the contents are as they were."""
    good = path.read_bytes()
    with FeatureStore.open(path) as store:
        expected = store.content_hash(), store.provenance
    rng = np.random.default_rng(0)
    places = np.arange(0, len(good), len(good) // 130) + rng.integers(0, 40)
    found = 0
    for place in places[places < len(good)]:
        flipped = bytearray(good)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            with FeatureStore.open(path) as store:
                store.verify()
                assert (store.content_hash(), store.provenance) == expected
        except FormatError:
            found += 1
    assert found > 60


def test_a_flipped_bit_in_compressed_values_is_found_when_they_are_read(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["by_token/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 300] ^= 4  # later ones are padding, for which deflate has several codes
    path.write_bytes(content)
    with (
        FeatureStore.open(path) as store,
        pytest.raises(FormatError, match=r"cannot read by_token.*truncated or corrupt"),
    ):
        store.csr()


def sidecar(path: Path) -> Path:
    (found,) = path.parent.glob("unembedding-*.safetensors")
    return found


def test_the_unembedding_is_shared_and_read(path: Path) -> None:
    with FeatureStore.open(path) as store:
        loaded = store.unembedding()
        assert loaded is not None
        assert sidecar(path).name == loaded.file_name
        assert loaded.hash.startswith(sidecar(path).stem.removeprefix("unembedding-"))
        before = sidecar(path).stat().st_mtime_ns
        write(path.with_name("b.h5"), activations(9), unembedding=loaded).close()
    assert sidecar(path).stat().st_mtime_ns == before
    sidecar(path).write_bytes(b"torn")
    write(path.with_name("c.h5"), activations(9), unembedding=loaded).close()  # writes the damaged one anew
    with FeatureStore.open(path) as store:
        store.verify()


def test_a_missing_or_altered_unembedding_is_refused(path: Path) -> None:
    other = Unembedding(np.ones((4, 9)), np.ones(4), np.ones(9, bool), False)
    with FeatureStore.open(path) as store:
        other.save(sidecar(path))
        with pytest.raises(
            FormatError, match=r"holds unembedding \w{12}, but a\.h5 needs \w{12}; restore the original"
        ):
            store.unembedding()
        sidecar(path).write_bytes(b"torn")
        with pytest.raises(FormatError, match="not a whole safetensors file"):
            store.unembedding()
        sidecar(path).unlink()
        with pytest.raises(FormatError, match=r"its unembedding unembedding-.* is missing; a store travels with"):
            store.unembedding()
        with pytest.raises(FormatError, match="is missing"):
            store.verify()
