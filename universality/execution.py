"""Work in units that an executor runs: in this process, in a pool of threads or processes, or on a Dask cluster.

An *executor* is anything with ``submit(function, *arguments)`` that returns a future with ``result()``, such as those
of `concurrent.futures` and ``distributed.Client``. A *pass* is a function, the values that all units share, and the
units. Three rules make its result independent of the executor:

- A unit is a range (of tokens, rows, pairs or replicates) that follows from the data and the settings, never from the
  number of workers.
- A unit can be computed twice: it reads stores, which it opens by their paths, and writes nothing.
- Results are used in the order of the units, whichever is finished first.

At most ``AHEAD`` units a worker are submitted and not yet used. While one unit takes long the others continue up to
that bound, so that the results that wait for it are bounded too. The units of a Dask worker that is lost are computed
again by the others; a pool of `concurrent.futures` that loses a process cannot continue, which is an error.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from concurrent.futures import Executor as PoolExecutor
from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar

from universality.errors import UniversalityError
from universality.extras import naming_extra
from universality.progress import progress

AHEAD = 4  # units a worker that are submitted before the first of them is used
KEPT = 2  # shared values that a worker process keeps: the most that a pass has
PATIENCE = 30.0  # seconds to wait for a scheduler
Value = TypeVar("Value")


class Executor(Protocol):
    """Anything that runs functions: `concurrent.futures.Executor`, ``distributed.Client``."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Begin ``function(*arguments)``; return a future, whose ``result()`` waits for the value or the error."""


class _Later:
    """A call that is made when its result is asked for."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._call = function, arguments

    def result(self) -> Any:
        function, arguments = self._call
        return function(*arguments)


class _Serial:
    """An executor that calls each function in this thread, when its result is asked for."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> _Later:
        return _Later(function, arguments)

    def __reduce__(self) -> str:
        return "SERIAL"  # the one of the other process


SERIAL: Executor = _Serial()
"""The executor where none is given: this process computes one unit after another."""


class Shared(Generic[Value]):
    """A value that many units need: a worker process receives it and builds it once, not once a unit.

    Parameters
    ----------
    value
        Anything that can be pickled. Threads of this process share the value itself.

    Examples
    --------
    >>> copy = pickle.loads(pickle.dumps(Shared([1, 2])))
    >>> copy.value
    [1, 2]
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        self._lent: tuple[Executor, Any] | None = None

    @cached_property
    def _parts(self) -> tuple[str, bytes]:
        contents = pickle.dumps(self.value, protocol=pickle.HIGHEST_PROTOCOL)
        return hashlib.sha256(contents).hexdigest(), contents

    def lent_to(self, executor: Executor) -> Any:
        """Return what units take in place of this: for Dask a future, which it sends to each worker once.

        Dask computes a future again whose worker was lost, which it cannot do with a value that was scattered.
        """
        if not hasattr(executor, "scatter"):  # the one method of Dask's clients that no pool has
            return self
        if self._lent is None or self._lent[0] is not executor:
            self._lent = executor, _submitted(executor, _itself, self)
        return self._lent[1]

    def __reduce__(self) -> tuple[Callable[[str, bytes], _Received], tuple[str, bytes]]:
        return _Received, self._parts

    def __dask_tokenize__(self) -> str:
        return self._parts[0]


class _Received:
    """A shared value in a worker process, unpickled at its first use."""

    _values: OrderedDict[str, Any] = OrderedDict()  # noqa: RUF012 — one for the whole process
    _lock = RLock()

    def __init__(self, key: str, contents: bytes) -> None:
        self._key, self._contents = key, contents

    @property
    def value(self) -> Any:
        with self._lock:  # units of several threads wait for the one that builds it
            if self._key not in self._values:
                self._values[self._key] = pickle.loads(self._contents)
            self._values.move_to_end(self._key)
            while len(self._values) > KEPT:
                self._values.popitem(last=False)
            return self._values[self._key]

    def __reduce__(self) -> tuple[type[_Received], tuple[str, bytes]]:
        return _Received, (self._key, self._contents)

    def __dask_tokenize__(self) -> str:
        return self._key


def run_units(
    executor: Executor,
    function: Callable[..., Any],
    units: Iterable[tuple[Any, ...]],
    *shared: Shared[Any],
    desc: str = "units",
    total: int | None = None,
) -> Iterator[Any]:
    """Yield ``function(*values of shared, *unit)`` for every unit, in the order of the units.

    Parameters
    ----------
    executor
        Where the function runs.
    function
        A function of a module, so that other processes can import it.
    units
        Arguments of each call. They are taken when a unit is submitted, so they may depend on earlier results.
    shared
        Values that all units need.
    desc, total
        Name of the pass and number of its units, for a bar of progress; this process shows none of its own units.

    Raises
    ------
    UniversalityError
        If the executor has lost workers and cannot continue.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(run_units(pool, pow, [(2,), (3,)], Shared(10)))
    [100, 1000]
    """
    waiting: deque[Any] = deque()
    lent = [value.lent_to(executor) for value in shared]
    with _explaining_lost_workers(), progress(total=total, desc=desc, silent=executor is SERIAL, leave=False) as bar:
        try:
            for unit in units:
                waiting.append(_submitted(executor, _call, function, len(lent), *lent, *unit))
                # The number of workers is asked for again, since those of a cluster come and go.
                if len(waiting) >= _most_ahead(executor):
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:
            for future in waiting:  # after an error, or when the caller needs no more
                getattr(future, "cancel", lambda: None)()


def check_executor(executor: Executor | None) -> Executor:
    """Return the executor, or `SERIAL` for None.

    Raises
    ------
    TypeError
        If it has no ``submit``.
    """
    if executor is None:
        return SERIAL
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor: expected an object with submit(function, *arguments), found {type(executor).__name__}; give a "
            "concurrent.futures executor, a distributed.Client, or None for this process"
        )
    return executor


@contextmanager
def connected(scheduler: str | None) -> Iterator[Executor | None]:
    """Connect to a Dask scheduler; yields None where there is no address.

    Parameters
    ----------
    scheduler
        Address as ``dask scheduler`` prints it: ``tcp://10.0.0.1:8786``.

    Raises
    ------
    MissingExtraError
        If ``distributed`` is not installed.
    UniversalityError
        If no scheduler answers, or a worker has another version of this package or lacks it.
    """
    if scheduler is None:
        yield None
        return
    with naming_extra("a scheduler"):
        from distributed import Client
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise UniversalityError(
            f"scheduler {scheduler}: no Dask scheduler answers there ({error}); start one with `dask scheduler` and "
            "workers with `dask worker ADDRESS --nworkers 1 --nthreads 1`, or leave the setting out"
        ) from None
    with client:
        _check_versions(client, scheduler)
        yield client


def _check_versions(client: Any, scheduler: str) -> None:
    """Refuse workers with another version of this package: their numbers could differ."""
    from universality import __version__

    for worker, version in client.run(_version, on_error="return").items():
        if version != __version__:
            raise UniversalityError(
                f"scheduler {scheduler}: worker {worker} has universality {version}, expected {__version__}; install "
                "the same version there"
            )


def _version() -> str:
    from universality import __version__

    return __version__


def _submitted(executor: Executor, *call: Any) -> Any:
    """Submit a call; Dask's advice to scatter large arguments is not followed, see `Shared.lent_to`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        return executor.submit(*call)


def _itself(shared: Any) -> Any:
    return shared


def _call(function: Callable[..., Any], n_shared: int, *arguments: Any) -> Any:
    """Call a function with the values that some arguments stand for."""
    return function(*(shared.value for shared in arguments[:n_shared]), *arguments[n_shared:])


def _most_ahead(executor: Executor) -> int:
    """Return how many units may be submitted and not yet used."""
    if executor is SERIAL:
        return 1
    workers = getattr(executor, "_max_workers", None) if isinstance(executor, PoolExecutor) else None
    threads = getattr(executor, "nthreads", None)  # of Dask: address of a worker → its threads
    if callable(threads):
        workers = sum(threads().values())
    return AHEAD * max(1, workers or os.cpu_count() or 1)


@contextmanager
def _explaining_lost_workers() -> Iterator[None]:
    try:
        yield
    except BrokenExecutor as error:
        raise UniversalityError(
            "a worker process ended before its unit was done, perhaps for lack of memory, and a pool of "
            "concurrent.futures cannot replace it; start a new pool and repeat the call, or give a distributed.Client, "
            "whose other workers compute the unit again"
        ) from error
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # by name: `distributed` is an extra
            raise
        raise UniversalityError(
            f"every worker that took one of the units was lost, as happens when each runs out of memory; lower "
            f"memory_budget, or give the workers more ({error})"
        ) from error
