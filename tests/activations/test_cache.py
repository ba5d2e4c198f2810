"""Activations on disk: what the model gave, for whom they were made, whole or refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.testing import assert_close

from universality.activations import CachedSite, cache_writer, find_cache, open_cache, shuffled_batches, write_cache
from universality.activations.cache_writer import pays
from universality.corpus import TokenBlocks
from universality.errors import FormatError, MismatchError, ModelError, UniversalityError

HOOK = "blocks.0.mlp.hook_post"


@pytest.fixture(scope="session")
def some(blocks) -> TokenBlocks:
    """A small corpus of its own, some of whose blocks are short."""
    part = blocks.take(np.concatenate([np.arange(150), np.flatnonzero(blocks.length < blocks.n_ctx)[-10:]]))
    return TokenBlocks(part.tokens, part.length, part.document, part.documents, part.d_vocab, part.tokenizer_hash)


@pytest.fixture(scope="session")
def cached(sites, some, tmp_path_factory: pytest.TempPathFactory) -> CachedSite:
    """Several shards, the last of them short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_writer, "SHARD_BYTES", 300_000)
        return write_cache(tmp_path_factory.mktemp("cache"), sites["A"], some, say=lambda line: None)


@pytest.fixture
def copy(cached: CachedSite, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cached.folder, tmp_path / "copy"))


def test_a_cache_gives_what_the_model_gives(cached: CachedSite, sites, some) -> None:
    assert len(list(cached.folder.glob("activations-*.bin"))) > 2
    live = sites["A"]
    assert (cached.model_hash, cached.hook, cached.d_in) == (live.model_hash, live.hook, live.d_in)
    for index in (np.arange(len(some)), np.array([159, 3, 3, 80]), np.arange(0)):
        part = some.take(index)
        assert_close(cached.read(part), live.read(part) if len(index) else torch.empty(0, 64), atol=1e-5, rtol=1e-5)
    decoder = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    assert_array_equal(cached.residual(decoder), live.residual(decoder))
    assert cached.unembedding(some, 3).hash == live.unembedding(some, 3).hash
    assert np.isnan(cached.spliced_loss(some, torch.zeros_like))
    cached.verify()


def test_batches_from_a_cache_are_those_of_the_model(cached: CachedSite, sites, some) -> None:
    train = some.select("train")
    streams = [
        shuffled_batches({"A": s}, train, batch_size=300, seed=1, buffer_tokens=900) for s in (cached, sites["A"])
    ]
    for _ in range(7):
        read, live = (next(stream)["A"] for stream in streams)
        assert_close(read, live, atol=1e-5, rtol=1e-5)
    for stream in streams:
        stream.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gets_the_same_batches(cached: CachedSite, some) -> None:
    options = {"batch_size": 300, "seed": 1, "buffer_tokens": 900, "stop": 9}
    here, there = (
        list(shuffled_batches({"A": open_cache(cached.folder, device)}, some, **options)) for device in ("cpu", "cuda")
    )
    for cpu, gpu in zip(here, there, strict=True):
        assert gpu["A"].device.type == "cuda"
        assert_close(gpu["A"].cpu(), cpu["A"], rtol=0, atol=0)


@pytest.mark.parametrize(("dtype", "error"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_two_bytes_a_number_round(sites, some, tmp_path: Path, dtype, error: float) -> None:
    cached = write_cache(tmp_path, sites["A"], some, dtype, say=lambda line: None)
    assert sum(f.stat().st_size for f in cached.folder.glob("*.bin")) == some.n_tokens * 64 * 2
    exact = sites["A"].read(some)
    assert_close(cached.read(some), exact.to(getattr(torch, dtype)).float(), atol=1e-5, rtol=error)
    assert not torch.equal(cached.read(some), exact)


def test_a_cache_is_found_by_any_name_of_its_hook_and_by_nothing_else(cached: CachedSite, sites, some) -> None:
    root, live = cached.folder.parent, sites["A"]
    wanted = {"model_hash": live.model_hash, "hook": HOOK, "blocks_hash": some.hash, "dtype": "float32"}
    for hook in (HOOK, "blocks.0.mlp.out.hook_in"):
        found = find_cache(root, **wanted | {"hook": hook})
        assert found is not None
        assert found.folder == cached.folder
    for other in ({"model_hash": sites["B"].model_hash}, {"hook": "x"}, {"blocks_hash": "x"}, {"dtype": "float16"}):
        assert find_cache(root, **wanted | other) is None


def test_a_second_call_writes_nothing_and_a_stopped_one_goes_on(cached: CachedSite, sites, some, copy: Path) -> None:
    said: list[str] = []
    assert write_cache(cached.folder.parent, sites["A"], some, say=said.append).folder == cached.folder
    assert said == []
    stopped = copy.rename(copy.with_name(cached.folder.name))  # killed while the second shard was written
    (stopped / "cache.json").unlink()
    (stopped / "activations-00001.bin").rename(stopped / "activations-00001.bin.partial")
    before = (stopped / "activations-00002.bin").stat().st_mtime_ns
    with pytest.raises(FormatError, match=r"no complete cache of activations: cache.json is missing"):
        open_cache(stopped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_writer, "SHARD_BYTES", 300_000)
        write_cache(stopped.parent, sites["A"], some, say=said.append).verify()
    assert (stopped / "activations-00002.bin").stat().st_mtime_ns == before
    assert "reading" in said[0]
    assert "harvesting" in said[0]


def test_it_says_when_it_does_not_pay() -> None:
    assert "each further pass is 4.0 times as fast" in pays(harvest=1000, read=4000)
    assert "does not pay" not in pays(harvest=1000, read=4000)
    assert "does not pay here; leave activations.cache out" in pays(harvest=1000, read=1200)


def test_torn_foreign_and_altered_caches_are_refused(copy: Path) -> None:
    shard = copy / "activations-00001.bin"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(FormatError, match=r"activations-00001.bin: not what was written"):
        open_cache(copy).verify()
    shard.write_bytes(content[:-1])
    with pytest.raises(FormatError, match=rf"has {len(content) - 1} bytes, expected {len(content)}: a torn cache"):
        open_cache(copy)
    shard.unlink()
    with pytest.raises(FormatError, match="is missing, expected"):
        open_cache(copy)
    header = json.loads((copy / "cache.json").read_text())
    (copy / "cache.json").write_text(json.dumps(header | {"version": 9}))
    with pytest.raises(FormatError, match=r"expected universality-activations version 1, found .* version 9"):
        open_cache(copy)
    (copy / "cache.json").write_text("{")
    with pytest.raises(FormatError, match="cannot be read as JSON"):
        open_cache(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": []}, "files must be an object"),
        ({"files": {"../x": {"size": 1, "sha256": ""}}}, "must be the name of a file beside it, without a path"),
        ({"files": {}}, "files: expected blocks.npz, of which it speaks"),
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
        ({"shards": [{"file": "other.bin", "blocks": 1, "tokens": 1}]}, "expected other.bin, of which it speaks"),
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


def test_other_blocks_are_refused(cached: CachedSite, sites, some, blocks) -> None:
    with pytest.raises(MismatchError, match="the cache holds activations of the blocks"):
        cached.read(blocks.take(np.arange(200, 210)))
    with pytest.raises(MismatchError, match="a cache holds a whole corpus, found a selection"):
        write_cache(cached.folder.parent, sites["A"], some.take(np.arange(3)))


class Loud:
    """A site of huge activations."""

    name, model_hash, hook, d_in, device = "loud", "l", "h", 8, torch.device("cpu")

    def read(self, blocks: TokenBlocks) -> torch.Tensor:
        return torch.full((blocks.n_tokens, 8), 1e6)


def test_what_a_format_cannot_hold_is_refused_before_it_is_stored(some, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"too large for float16 \(largest 1e\+06\).*set activations.dtype to float32"):
        write_cache(tmp_path, Loud(), some, "float16")


def test_a_disk_without_room_is_refused_before_the_harvest(some, tmp_path: Path) -> None:
    site = Loud()
    site.d_in = 10**12
    with pytest.raises(UniversalityError, match=r"the cache needs [\d.]+ GB, the disk has [\d.]+ GB left; free some"):
        write_cache(tmp_path, site, some)


def test_a_machine_without_transformer_lens_trains_collects_and_matches(cached: CachedSite, tmp_path: Path) -> None:
    script = Path(__file__).with_name("train_from_cache.py")
    command = [sys.executable, str(script), str(cached.folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [int(line) > 0 for line in done.stdout.splitlines()] == [True, True]
