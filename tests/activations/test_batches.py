"""The shuffle buffer: every token once, alike for all models, from any step, while the next is harvested."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from universality.activations import harvest, shuffled_batches
from universality.corpus import TokenBlocks
from universality.errors import CorpusError, ModelError


def test_shuffled_batches_deal_every_token_of_a_buffer_once_and_alike_for_all_models(sites, blocks) -> None:
    both = list(islice(shuffled_batches(sites, blocks, batch_size=64, seed=1, buffer_tokens=640), 12))
    alone = list(islice(shuffled_batches({"B": sites["B"]}, blocks, batch_size=64, seed=1, buffer_tokens=640), 12))
    for batch, lone in zip(both, alone, strict=True):
        assert batch["A"].shape == (64, 64)
        assert_close(batch["B"], lone["B"], rtol=0, atol=0)
    everything = torch.cat([acts["A"] for _, acts in harvest({"A": sites["A"]}, blocks)])
    known = {row.tobytes() for row in everything.numpy()}
    dealt = [row.tobytes() for row in torch.cat([b["A"] for b in both[:10]]).numpy()]
    assert set(dealt) <= known
    assert len(set(dealt)) > 0.9 * len(dealt)


def test_stream_goes_on_from_any_batch(sites, blocks) -> None:
    options = {"batch_size": 64, "seed": 1, "buffer_tokens": 640}
    whole = list(islice(shuffled_batches(sites, blocks, **options), 40))
    for start in (1, 9, 10, 33):
        first = next(shuffled_batches(sites, blocks, start=start, **options))
        for name in sites:
            assert_close(first[name], whole[start][name], rtol=0, atol=0)
    other = next(shuffled_batches(sites, blocks, **options | {"seed": 2}))
    assert not torch.equal(other["A"], whole[0]["A"])


def test_buffers_mix_documents_and_cross_epochs(sites, blocks) -> None:
    blocks = blocks.take(np.arange(150))
    n_batches = 3 * blocks.n_tokens // 512
    batches = list(
        islice(shuffled_batches({"A": sites["A"]}, blocks, batch_size=512, seed=0, buffer_tokens=1024), n_batches)
    )
    assert len(batches) == n_batches


def buffers_dealt_by_hand(sites, blocks: TokenBlocks, size: int, seed: int, buffer_tokens: int) -> Iterator[Tensor]:
    """The same stream without a thread and without reuse of rows: one epoch."""
    order = np.random.default_rng([seed, 0, 0]).permutation(len(blocks))
    counts = np.cumsum(blocks.length[order] - 1)
    begin = before = fill = 0
    while (end := int(np.searchsorted(counts, before + buffer_tokens)) + 1) <= len(order):
        rows = torch.cat([acts["A"] for _, acts in harvest(sites, blocks.take(order[begin:end]))])
        dealt = torch.from_numpy(np.random.default_rng([seed, 1, fill]).permutation(len(rows)))
        for batch in range(len(rows) // size):
            yield rows[dealt[batch * size : (batch + 1) * size]]
        begin, before, fill = end, int(counts[end - 1]), fill + 1


@pytest.mark.parametrize(("size", "buffer_tokens"), [(64, 640), (100, 3000), (700, 500)])
def test_stream_is_that_of_a_plain_loop(sites, blocks, size: int, buffer_tokens: int) -> None:
    one, some = {"A": sites["A"]}, blocks.take(np.arange(0, len(blocks), len(blocks) // 250))
    plain = list(buffers_dealt_by_hand(one, some, size, 7, max(size, buffer_tokens)))
    ours = islice(shuffled_batches(one, some, batch_size=size, seed=7, buffer_tokens=buffer_tokens), len(plain))
    assert len(plain) > 5
    for a, b in zip(plain, ours, strict=True):
        assert_close(b["A"], a, rtol=0, atol=0)


@dataclass
class Counting:
    """A site whose activations are zeros; it counts the tokens asked of it, and may fail before it answers."""

    d_in: int = 16
    read_tokens: int = 0
    before: Callable[[int], None] = lambda read: None

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def read(self, blocks: TokenBlocks) -> Tensor:
        self.before(self.read_tokens)
        self.read_tokens += blocks.n_tokens
        return torch.zeros(blocks.n_tokens, self.d_in)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_harvest_goes_on_while_a_batch_is_trained_on_and_no_further_than_the_buffer(blocks) -> None:
    site = Counting()
    size, buffer_tokens = 500, 5000
    stream = shuffled_batches({"A": site}, blocks, batch_size=size, seed=0, buffer_tokens=buffer_tokens)
    next(stream)
    in_hand = 64 * (blocks.n_ctx - 1)
    wait_until(lambda: site.read_tokens > buffer_tokens + size)  # more than the first buffer, untouched by us
    time.sleep(0.05)
    assert site.read_tokens <= buffer_tokens + blocks.n_ctx + size + in_hand
    for _ in range(4):
        next(stream)
    wait_until(lambda: site.read_tokens > buffer_tokens + 4 * size)
    stream.close()


def test_memory_is_one_buffer_and_the_blocks_on_the_way(blocks) -> None:
    site, buffer_tokens = Counting(d_in=256), 4000
    stream = shuffled_batches({"A": site}, blocks, batch_size=400, seed=0, buffer_tokens=buffer_tokens)
    for _ in range(40):
        next(stream)
    tensors = [thing for thing in gc.get_objects() if type(thing) is Tensor]
    held = sum(t.numel() for t in tensors if t.ndim == 2 and t.shape[1] == 256)
    stream.close()
    assert 256 * buffer_tokens < held <= 256 * (buffer_tokens + blocks.n_ctx + 2 * 64 * blocks.n_ctx)


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (3, 23), (9, 10), (12, 12)])
def test_it_ends_where_asked_and_harvests_no_further(blocks, start: int, stop: int) -> None:
    site = Counting()
    batches = list(
        shuffled_batches({"A": site}, blocks, batch_size=500, seed=0, buffer_tokens=5000, start=start, stop=stop)
    )
    assert len(batches) == stop - start
    buffers = -(-stop // 10) - start // 10 if stop > start else 0
    assert site.read_tokens <= buffers * (5000 + blocks.n_ctx)


def test_a_stream_left_alone_ends_its_thread(blocks) -> None:
    before = threading.active_count()
    for taken in (0, 1, 7):
        stream = shuffled_batches({"A": Counting()}, blocks, batch_size=500, seed=0, buffer_tokens=5000)
        list(islice(stream, taken))
        stream.close()
    assert threading.active_count() == before


def test_what_fails_in_the_thread_is_raised_where_the_batch_is_asked_for(blocks) -> None:
    def fail(read: int) -> None:
        if read > 6000:
            raise ModelError("out of memory")

    stream = shuffled_batches({"A": Counting(before=fail)}, blocks, batch_size=500, seed=0, buffer_tokens=5000)
    with pytest.raises(ModelError, match="out of memory"):
        list(islice(stream, 50))


def test_no_blocks_are_refused(blocks) -> None:
    none: NDArray[np.int64] = np.arange(0)
    with pytest.raises(CorpusError, match="no token blocks to take activations of"):
        next(shuffled_batches({"A": Counting()}, blocks.take(none), batch_size=5, seed=0))
