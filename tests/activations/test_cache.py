"""Activations on disk: what the model gave, for whom they were made, whole or refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.testing import assert_close

from universality.activations import CachedSite, find_cache, open_cache, shuffled_batches, write_cache
from universality.errors import FormatError, MismatchError

HOOK = "blocks.0.mlp.hook_post"


def test_a_cache_gives_what_the_model_gives(cached: CachedSite, sites, small_corpus) -> None:
    assert len(list(cached.folder.glob("activations-*.bin"))) > 2
    live = sites["A"]
    assert (cached.model_hash, cached.hook, cached.d_in) == (live.model_hash, live.hook, live.d_in)
    for index in (np.arange(len(small_corpus)), np.array([159, 3, 3, 80]), np.arange(0)):
        part = small_corpus.take(index)
        assert_close(cached.read(part), live.read(part) if len(index) else torch.empty(0, 64), atol=1e-5, rtol=1e-5)
    decoder = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    assert_array_equal(cached.residual(decoder), live.residual(decoder))
    assert cached.unembedding(small_corpus, 3).hash == live.unembedding(small_corpus, 3).hash
    assert np.isnan(cached.spliced_loss(small_corpus, torch.zeros_like))
    cached.verify()


def test_batches_from_a_cache_are_those_of_the_model(cached: CachedSite, sites, small_corpus) -> None:
    train = small_corpus.select("train")
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
def test_a_gpu_gets_the_same_batches(cached: CachedSite, small_corpus) -> None:
    options = {"batch_size": 300, "seed": 1, "buffer_tokens": 900, "stop": 9}
    here, there = (
        list(shuffled_batches({"A": open_cache(cached.folder, device)}, small_corpus, **options))
        for device in ("cpu", "cuda")
    )
    for cpu, gpu in zip(here, there, strict=True):
        assert gpu["A"].device.type == "cuda"
        assert_close(gpu["A"].cpu(), cpu["A"], rtol=0, atol=0)


def test_a_cache_is_found_by_any_name_of_its_hook_and_by_nothing_else(cached: CachedSite, sites, small_corpus) -> None:
    root, live = cached.folder.parent, sites["A"]
    wanted = {"model_hash": live.model_hash, "hook": HOOK, "blocks_hash": small_corpus.hash, "dtype": "float32"}
    for hook in (HOOK, "blocks.0.mlp.out.hook_in"):
        found = find_cache(root, **wanted | {"hook": hook})
        assert found is not None
        assert found.folder == cached.folder
    for other in ({"model_hash": sites["B"].model_hash}, {"hook": "x"}, {"blocks_hash": "x"}, {"dtype": "float16"}):
        assert find_cache(root, **wanted | other) is None


def test_torn_foreign_and_altered_caches_are_refused(copy: Path) -> None:
    shard = copy / "activations-00001.bin"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(FormatError, match=r"activations-00001.bin: not what was written"):
        open_cache(copy).verify()
    shard.write_bytes(content[:-1])
    with pytest.raises(
        FormatError, match=rf"has {len(content) - 1} bytes, expected {len(content)}: the cache is trunc"
    ):
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


def test_other_blocks_are_refused(cached: CachedSite, sites, small_corpus, blocks) -> None:
    with pytest.raises(MismatchError, match="the cache holds activations of the blocks"):
        cached.read(blocks.take(np.arange(200, 210)))
    with pytest.raises(MismatchError, match="a cache holds a whole corpus, found a selection"):
        write_cache(cached.folder.parent, sites["A"], small_corpus.take(np.arange(3)))


def test_a_machine_without_transformer_lens_trains_collects_and_matches(cached: CachedSite, tmp_path: Path) -> None:
    script = Path(__file__).with_name("train_from_cache.py")
    command = [sys.executable, str(script), str(cached.folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [int(line) > 0 for line in done.stdout.splitlines()] == [True, True]
