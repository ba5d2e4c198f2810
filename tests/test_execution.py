"""Units of work give the results of one process on threads, processes and a cluster, of which a worker is killed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from scipy import sparse

import universality
from universality import FeatureStore, Similarity, calibrate, families, match
from universality.errors import MismatchError, MissingExtraError, UniversalityError
from universality.execution import AHEAD, SERIAL, Executor, Shared, connected, run_units
from universality.features import Dictionary
from universality.similarity import all_pairs
from universality.similarity.engine import comoments, row_units, side_moments
from universality.statistics import bootstrap
from universality.statistics.synthetic import World, plant

WORLD = World(n_documents=60, n_shared=25, n_alone=15, density=(0.02, 0.05), topic_share=1.0)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    planted = plant(WORLD, tmp_path_factory.mktemp("stores"))
    return planted.a, planted.b


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, mp_context=_forkserver()) as pool:
        yield pool


def _forkserver() -> multiprocessing.context.BaseContext:
    """Processes that are forked from one without threads, which imports the package for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["universality.statistics", "universality.family"])
    return context


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="a cluster needs universality[cluster]")
    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module", params=["threads", "processes", "client"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param != "threads":
        yield request.getfixturevalue(request.param)
        return
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many units of small data. Boundaries are chosen here, so that workers follow them."""
    monkeypatch.setattr(side_moments, "SHARD", 5000)
    monkeypatch.setattr(row_units, "LISTED_ROWS", 9)
    monkeypatch.setattr(bootstrap, "PORTION", 11)


class Killing:
    """A client that kills a worker's process while it is at work on the n-th unit."""

    def __init__(self, client: Any, n: int) -> None:
        self.client, self.left, self.killed = client, n, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        future = self.client.submit(function, *arguments)
        self.left -= 1
        if self.left == 0:
            pids = self.client.run(os.getpid)
            busy: list[str] = []
            while not busy and not future.done():
                busy = [worker for worker, tasks in self.client.processing().items() if tasks]
            self.killed = pids[busy[0] if busy else next(iter(pids))]
            os.kill(self.killed, signal.SIGKILL)
        return future


def test_results_come_in_order_and_a_slow_unit_holds_back_a_bounded_number() -> None:
    """The first unit ends only after every other unit that may be submitted beside it."""
    n_workers, begun, others = 3, [], threading.Semaphore(0)

    def unit(number: int) -> int:
        begun.append(number)
        if number == 0:
            for _ in range(AHEAD * n_workers - 1):
                assert others.acquire(timeout=30)
            time.sleep(0.05)  # a unit beyond the bound would begin now
            assert len(begun) == AHEAD * n_workers
        else:
            others.release()
        return number

    with ThreadPoolExecutor(n_workers) as pool:
        assert list(run_units(pool, unit, ((number,) for number in range(40)))) == list(range(40))


def test_this_process_computes_a_unit_when_its_result_is_asked_for() -> None:
    made: list[int] = []
    results = run_units(SERIAL, made.append, ((number,) for number in range(9)))
    next(results)
    assert made == [0]
    results.close()  # type: ignore[attr-defined]
    assert made == [0]


def test_an_error_of_a_unit_is_raised_and_the_others_are_dropped(executor: Executor) -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_units(executor, divmod, [(6, 2), (1, 0), (5, 1)]))


class Counted:
    """A value that leaves a file for each process that builds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        with (self.folder / str(os.getpid())).open("a") as file:
            file.write("built\n")


def _pid_after(counted: Counted, number: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def test_a_worker_builds_a_shared_value_once(processes: ProcessPoolExecutor, tmp_path: Path) -> None:
    used = set(run_units(processes, _pid_after, [(i,) for i in range(12)], Shared(Counted(tmp_path))))
    assert {int(file.name): file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(used, "built\n")


def test_a_pool_that_loses_a_process_is_an_error_that_says_what_to_do() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=_forkserver()) as pool,
        pytest.raises(UniversalityError, match=r"a worker process ended .* start a new pool .* distributed.Client"),
    ):
        list(run_units(pool, os._exit, [(1,), (1,)]))


def test_something_without_submit_is_refused(stores: tuple[FeatureStore, FeatureStore]) -> None:
    with pytest.raises(TypeError, match=r"expected an object with submit\(function, \*arguments\), found str"):
        Similarity.activation(*stores, executor="tcp://10.0.0.1:8786")  # type: ignore[arg-type]


ROUTES = {"kept": 2 << 30, "listed": 2 << 30, "streamed": 10_000}


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize(
    ("route", "measure"), [("kept", "activation"), ("listed", "activation"), ("streamed", "masked_cosine")]
)
def test_scores_and_best_partners_are_those_of_one_process(
    stores: tuple[FeatureStore, FeatureStore],
    executor: Executor,
    route: str,
    measure: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the last bit with the same units; to 1e-12 with one unit for all."""
    if route == "listed":
        monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)

    def results(executor: Executor | None) -> list[np.ndarray]:
        sim = Similarity.over_tokens(measure, *stores, ROUTES[route], executor=executor)
        assert sim.in_units == (route != "kept")
        (by_row, of_rows), (by_col, of_cols) = sim.topk(7, axis=None)
        i, j = np.arange(40), np.arange(40)[::-1].copy()
        pairs, matched = sim.pairs(i, j), match(sim, solver="sparse")
        return [of_rows, of_cols, pairs, matched.scores, by_row, by_col, matched.rows, matched.cols]

    expected = results(None)
    for found, alone in zip(results(executor), expected, strict=True):
        assert_array_equal(found, alone)
    for module, name in ((side_moments, "SHARD"), (row_units, "LISTED_ROWS")):
        monkeypatch.setattr(module, name, 1 << 20)
    for found, alone in zip(results(None), expected, strict=True):
        assert_allclose(found, alone, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("route", ["kept", "listed"])
def test_a_calibration_is_that_of_one_process(
    stores: tuple[FeatureStore, FeatureStore], executor: Executor, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicates are units where the matrix is kept, and divided into units of rows where it is not."""
    if route == "listed":
        monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    alone, found = (calibrate(*stores, replicates=3, bootstrap=40, executor=each) for each in (None, executor))
    assert np.isfinite(alone.ci_low).any()
    assert_array_equal(found.match.cols, alone.match.cols)
    for name in ("held_out", "ci_low", "ci_high", "median_ci", "p", "q", "null_scores"):
        assert_array_equal(getattr(found, name), getattr(alone, name))
    assert found.settings == alone.settings


def test_a_killed_worker_of_a_cluster_changes_nothing(
    stores: tuple[FeatureStore, FeatureStore], client: Any, small_units: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    expected = Similarity.activation(*stores).topk(7, axis=None)
    killing = Killing(client, 12)
    found = Similarity.activation(*stores, executor=killing).topk(7, axis=None)
    assert killing.killed
    assert killing.killed not in client.run(os.getpid).values()
    for (index, score), (index_alone, score_alone) in zip(found, expected, strict=True):
        assert_array_equal(index, index_alone)
        assert_array_equal(score, score_alone)


@pytest.mark.usefixtures("small_units")
def test_all_pairs_and_firing_are_those_of_one_process(
    stores: tuple[FeatureStore, FeatureStore], executor: Executor
) -> None:
    named = dict(zip("AB", stores, strict=True))
    alone, found = (all_pairs(named, "phi", executor=each)["A", "B"] for each in (None, executor))
    assert_array_equal(found.dense(), alone.dense())


def test_families_are_those_of_one_process(executor: Executor, tmp_path: Path) -> None:
    """A small budget cuts the wider store into parts, each of which is a unit."""
    rng = np.random.default_rng(0)
    concepts = np.float32((rng.random((600, 6)) < 0.1) * rng.gamma(4, 0.25, (600, 6)))

    def write(name: str, sees: np.ndarray) -> FeatureStore:
        writer = FeatureStore.create(tmp_path / name, len(sees), {"model": {"name": "m", "hash": "m"}, "site": "x"})
        rows = np.arange(600)
        codes, text = sparse.csr_matrix(concepts @ sees.T), np.full(600, "text")
        writer.append(codes, token=rows, document=rows // 50, position=rows % 50 + 1, kind=text)
        return writer.finish(dictionary=Dictionary(decoder=sees))

    narrow = np.kron(np.eye(3, dtype=np.float32), np.ones((1, 2), np.float32))
    with write("narrow.h5", narrow) as low, write("wide.h5", np.eye(6, dtype=np.float32)) as high:
        given = {"n_replicates": 2, "bootstrap": 20}
        alone, found = (families([low, high], **given, memory_budget=2000, executor=each) for each in (None, executor))
        whole = families([low, high], **given)
    assert alone.to_frame()[["parent", "child"]].to_numpy().tolist() == [[i // 2, i] for i in range(6)]
    assert_frame_equal(found.to_frame(), alone.to_frame())
    assert_frame_equal(whole.to_frame(), alone.to_frame())
    assert found.chance == alone.chance


def test_a_store_that_was_replaced_is_refused(stores: tuple[FeatureStore, FeatureStore], tmp_path: Path) -> None:
    shutil.copy(stores[0].path, tmp_path / "a.h5")
    with FeatureStore.open(tmp_path / "a.h5") as store:
        sent = pickle.dumps(store)
    with pickle.loads(sent) as again:
        assert again.content_hash() == stores[0].content_hash()
    shutil.copy(stores[1].path, tmp_path / "a.h5")
    with pytest.raises(MismatchError, match="all processes must see the same file under this path"):
        pickle.loads(sent)


def test_a_scheduler_is_connected_by_its_address(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = client.scheduler_info()["address"]
    with connected(None) as nothing, connected(address) as other:
        assert nothing is None
        assert list(run_units(other, pow, [(2, 3)])) == [8]
    monkeypatch.setattr(universality, "__version__", "0.0.1")
    with (
        pytest.raises(UniversalityError, match=r"worker tcp://.* has universality .*, expected 0.0.1"),
        connected(address),
    ):
        pass


def test_a_scheduler_that_is_missing_or_cannot_be_asked_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universality.execution.PATIENCE", 0.2)
    if pytest.importorskip("distributed", reason="a cluster needs universality[cluster]"):
        with (
            pytest.raises(UniversalityError, match=r"no Dask scheduler answers there .* `dask scheduler`"),
            connected("tcp://127.0.0.1:9"),
        ):
            pass
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"a scheduler needs distributed"), connected("tcp://127.0.0.1:9"):
        pass


def test_a_unit_that_ends_every_worker_is_an_error_that_says_what_to_do(client: Any) -> None:
    """The last test of the cluster, which starts its workers again."""
    client.run_on_scheduler(_allow_no_failure)
    with pytest.raises(UniversalityError, match="every worker that took one of the units was lost"):
        list(run_units(client, os._exit, [(1,)]))


def _allow_no_failure(dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = 0


@pytest.mark.parametrize(("given", "used"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_wait_without_spinning_unless_told_to(given: dict[str, str], used: str) -> None:
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    ask = "import universality, os; print(os.environ['OMP_WAIT_POLICY'])"
    told = subprocess.run([sys.executable, "-c", ask], env=others | given, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == used
