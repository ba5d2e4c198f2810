"""A cache is written once, resumes, and refuses what its number format or the disk cannot hold."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from universality.activations import CachedSite, cache_writer, open_cache, write_cache
from universality.activations.cache_writer import pays
from universality.corpus import TokenBlocks
from universality.errors import FormatError, ModelError, UniversalityError


@pytest.mark.parametrize(("dtype", "error"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_two_bytes_a_number_round(sites, small_corpus, tmp_path: Path, dtype, error: float) -> None:
    cached = write_cache(tmp_path, sites["A"], small_corpus, dtype, say=lambda line: None)
    assert sum(f.stat().st_size for f in cached.folder.glob("*.bin")) == small_corpus.n_tokens * 64 * 2
    exact = sites["A"].read(small_corpus)
    assert_close(cached.read(small_corpus), exact.to(getattr(torch, dtype)).float(), atol=1e-5, rtol=error)
    assert not torch.equal(cached.read(small_corpus), exact)


def test_a_second_call_writes_nothing_and_a_stopped_one_goes_on(
    cached: CachedSite, sites, small_corpus, copy: Path
) -> None:
    said: list[str] = []
    assert write_cache(cached.folder.parent, sites["A"], small_corpus, say=said.append).folder == cached.folder
    assert said == []
    stopped = copy.rename(copy.with_name(cached.folder.name))  # killed while the second shard was written
    (stopped / "cache.json").unlink()
    (stopped / "activations-00001.bin").rename(stopped / "activations-00001.bin.partial")
    before = (stopped / "activations-00002.bin").stat().st_mtime_ns
    with pytest.raises(FormatError, match=r"no complete cache of activations: cache.json is missing"):
        open_cache(stopped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_writer, "SHARD_BYTES", 300_000)
        write_cache(stopped.parent, sites["A"], small_corpus, say=said.append).verify()
    assert (stopped / "activations-00002.bin").stat().st_mtime_ns == before
    assert "reading" in said[0]
    assert "harvesting" in said[0]


def test_it_says_when_it_does_not_pay() -> None:
    assert "each further pass is 4.0 times as fast" in pays(harvest=1000, read=4000)
    assert "does not pay" not in pays(harvest=1000, read=4000)
    assert "does not pay here; leave activations.cache out" in pays(harvest=1000, read=1200)


class Loud:
    """A site of huge activations."""

    name, model_hash, hook, d_in, device = "loud", "l", "h", 8, torch.device("cpu")

    def read(self, blocks: TokenBlocks) -> torch.Tensor:
        return torch.full((blocks.n_tokens, 8), 1e6)


def test_what_a_format_cannot_hold_is_refused_before_it_is_stored(small_corpus, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"too large for float16 \(largest 1e\+06\).*set activations.dtype to float32"):
        write_cache(tmp_path, Loud(), small_corpus, "float16")


def test_a_disk_without_room_is_refused_before_the_harvest(small_corpus, tmp_path: Path) -> None:
    site = Loud()
    site.d_in = 10**12
    with pytest.raises(UniversalityError, match=r"the cache needs [\d.]+ GB, the disk has [\d.]+ GB left; free some"):
        write_cache(tmp_path, site, small_corpus)
