"""Several processes: SAEs are shared out by cost, or learn together and end equal."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from universality.errors import ConfigError
from universality.sae import SAE, SAESpec
from universality.sae.training.distributed import (
    Ranks,
    assign_to_ranks,
    check_batch_size,
    join_ranks,
    shard,
    share_of_batches,
)

SCRIPT = Path(__file__).with_name("rank_process.py")


def run_ranks(size: int, folder: Path, script: Path = SCRIPT) -> None:
    """Start ``size`` processes and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env={**environment, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_two_ranks_end_equal_and_as_one_but_for_rounding(tmp_path: Path) -> None:
    """Tolerance: 1e-4 of the largest weight after 40 steps; AuxK scales its loss by its share's energy, so 5e-2."""
    run_ranks(1, tmp_path / "one")
    run_ranks(2, tmp_path / "two")
    for name, tolerance in (("topk", 1e-4), ("relu", 1e-4), ("aux", 5e-2)):
        one = SAE.load(tmp_path / "one" / f"{name}.rank0")
        first, second = (SAE.load(tmp_path / "two" / f"{name}.rank{rank}") for rank in range(2))
        assert first.hash == second.hash
        assert first.metadata["training"]["tokens_seen"] == one.metadata["training"]["tokens_seen"] == 40 * 257
        for tensor in ("W_enc", "b_enc", "W_dec", "b_dec"):
            ours, theirs = getattr(first, tensor), getattr(one, tensor)
            assert_close(ours, theirs, rtol=0, atol=tolerance * float(theirs.abs().max()))
    assert [path.name for path in (tmp_path / "two").glob("*.jsonl")] == ["train.jsonl"]


@pytest.mark.slow
def test_no_rank_goes_on_before_all_have_called_wait(tmp_path: Path) -> None:
    """Three ranks: after a broadcast the second would go on while the third has not begun."""
    script = tmp_path / "wait.py"
    script.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from universality.sae.training.distributed import join_ranks\n"
        "ranks = join_ranks()\n"
        "time.sleep(ranks.rank * 0.5)\n"
        "called = time.time()\n"
        "ranks.wait()\n"
        "(Path(sys.argv[1]) / f'{ranks.rank}.txt').write_text(f'{called} {time.time()}')\n"
        "ranks.shut_down()\n"
    )
    run_ranks(3, tmp_path, script)
    called, passed = zip(*((tmp_path / f"{rank}.txt").read_text().split() for rank in range(3)), strict=True)
    assert max(map(float, called)) <= min(map(float, passed))


def test_shares_make_up_the_batch() -> None:
    batch = {"m": torch.arange(10)[:, None]}
    parts = [next(share_of_batches(iter([batch]), Ranks(rank, 3)))["m"] for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 4]
    assert_close(torch.cat(parts), batch["m"])
    (whole,) = share_of_batches(iter([batch]), Ranks())
    assert isinstance(whole["m"], Tensor)
    assert_close(whole["m"], batch["m"])


def test_a_batch_smaller_than_the_ranks_is_refused() -> None:
    check_batch_size(4, Ranks(0, 4))
    with pytest.raises(ConfigError, match=r"saes.batch_size is 3, but 4 processes share each batch; raise it"):
        check_batch_size(3, Ranks(0, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "100"), ("RANK", "99"), ("LOCAL_RANK", "99")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="process 99 of this machine has no GPU"):
        join_ranks()


def grid(*widths: int) -> dict[tuple[str, str], SAESpec]:
    return {(model, f"w{width}"): SAESpec(width, k=8) for model in "AB" for width in widths}


def test_every_sae_has_one_rank_and_ranks_cost_about_the_same() -> None:
    specs = grid(512, 1024, 2048, 4096)
    free = {"A": 0, "B": 0}
    for n in (1, 2, 3, 4):
        parts = assign_to_ranks(specs, {"A": 512, "B": 512}, free, n)
        assert sorted(key for part in parts for key in part) == sorted(specs)
        loads = [sum(specs[key].d_sae for key in part) for part in parts]
        assert max(loads) <= max(4096, 1.34 * sum(loads) / n)
    assert assign_to_ranks(specs, {"A": 512, "B": 512}, free, 1) == [list(specs)]


def test_a_dear_harvest_keeps_a_models_saes_together() -> None:
    dear = {"A": 10**9, "B": 10**9}
    parts = assign_to_ranks(grid(512, 1024, 2048), {"A": 512, "B": 512}, dear, 2)
    assert sorted({model for model, _ in part} for part in parts) == [{"A"}, {"B"}]


def test_more_ranks_than_saes_leave_some_without() -> None:
    parts = assign_to_ranks(grid(512), {"A": 8, "B": 8}, {"A": 1, "B": 1}, 3)
    assert sorted(len(part) for part in parts) == [0, 1, 1]


@pytest.mark.parametrize(("n", "size"), [(1000, 3), (64, 2), (10, 4), (0, 2)])
def test_shards_cover_everything_once_and_are_cut_where_batches_are(n: int, size: int) -> None:
    parts = [range(n)[shard(n, 64, Ranks(rank, size))] for rank in range(size)]
    assert [i for part in parts for i in part] == list(range(n))
    assert all(part.start % 64 == 0 or part.start == n for part in parts)
