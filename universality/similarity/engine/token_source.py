"""Base class of the measures that compare two stores over the same tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.corpus.units import independent_units
from universality.devices import describe_device
from universality.errors import MismatchError, UniversalityError
from universality.execution import SERIAL, Executor, Shared, check_executor
from universality.similarity.engine.best_partners import (
    best_of_blocks,
    best_of_stripes,
    enter_entries,
    enter_products,
)
from universality.similarity.engine.block_source import (
    BLOCK_BYTES,
    DEFAULT_BUDGET,
    Best,
    describe_store,
    rows_within,
    warn_of_cpu,
)
from universality.similarity.engine.comoments import CoMoments, MomentType
from universality.similarity.engine.group_sums import GroupMoments
from universality.similarity.engine.row_units import best_in_units
from universality.similarity.engine.side_moments import Side, measure_side
from universality.similarity.engine.store_rows import ENTRY_BYTES, StoreRows, Values, entries
from universality.similarity.engine.token_selection import Selection, check_stores, select

if TYPE_CHECKING:
    import torch

    from universality.features.storage.store import FeatureStore
    from universality.similarity.engine.device_sums import Stripes

Index: TypeAlias = IntArray | slice


class SideCache:
    """The sides measured last, shared by a source and all that are derived from it.

    A null compares the same rows of A with other rows of B again and again, and the halves of an evaluation ask for
    rows that a null merely reorders. Both find here what does not depend on the other side: moments, which are the same
    in any order of the rows, and A's feature-major copy, which is the same for the same rows in the same order.
    """

    def __init__(self) -> None:
        self._last: CoMoments | None = None

    def comoments(
        self, a: StoreRows, b: StoreRows, selection: Selection, memory_budget: int, executor: Executor
    ) -> CoMoments:
        """Co-moments over a selection, with what the last call's can spare."""
        last = self._last
        side_a = _measured(a, selection.rows_a, last.a if last else None, executor)
        same = b is a and selection.rows_b is selection.rows_a
        side_b = side_a if same else _measured(b, selection.rows_b, last.b if last else None, executor)
        if last is not None and np.array_equal(selection.rows_a, last.a.rows):
            moments = last.with_b(side_b)
        else:
            moments = CoMoments(side_a, side_b, memory_budget)
        self._last = moments.without_blocks()  # the [n_a, n_b] arrays go with the source that asked for them
        return moments


@dataclass(frozen=True, eq=False)
class TokenSource(ABC):
    """Two stores, the token rows that are compared, and the co-moments over those rows.

    A measure adds its name, which features are dead, which co-moments it needs and how they become scores, and gets a
    line in `universality.similarity.measures`.

    Parameters
    ----------
    a, b
        The stores' rows; both in memory when they fit into the budget.
    selection
        Which token rows meet.
    memory_budget
        Bytes for the loaded stores, and again for an array of features x features.
    sides
        Sides measured before, shared by all sources over the same stores.
    given
        The co-moments, where the caller has them already.
    executor
        Where sums over shards of tokens and units of rows are computed.
    device
        Where blocks and best partners are computed; None for the CPU's own loops.
    """

    name: ClassVar[str]
    needs: ClassVar[MomentType]
    quantity: ClassVar[str] = "activation"
    """What stores must hold; see `FeatureStore.quantity`."""
    depends_on_partner: ClassVar[bool] = False
    """Whether `values` or `admit` depend on the other store, so that a loaded store serves one pair only."""

    a: StoreRows
    b: StoreRows
    selection: Selection
    memory_budget: int
    sides: SideCache = field(default_factory=SideCache)
    given: CoMoments | None = None
    executor: Executor = SERIAL
    device: torch.device | None = None

    @classmethod
    def of(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        memory_budget: int = DEFAULT_BUDGET,
        documents: npt.ArrayLike | None = None,
        rows: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        executor: Executor | None = None,
        **options: Any,
    ) -> Self:
        """Load both stores, if they fit, and check that they saw the same tokens."""
        check_stores(a, b)
        cls.check_quantity(a, b)
        selection = select(a, b, documents, rows)
        same = b is a or (b.path.resolve() == a.path.resolve() and b.content_hash() == a.content_hash())
        needed = (2 * entries(a) + (0 if same else entries(b))) * ENTRY_BYTES  # A twice: by token, by feature
        rows_a = StoreRows.open(a, needed <= memory_budget, cls.values(a, b))
        rows_b = rows_a if same else StoreRows.open(b, needed <= memory_budget, cls.values(b, a))
        admitted = cls.admit(a, b, selection)
        return cls(rows_a, rows_b, admitted, memory_budget, executor=check_executor(executor), **options)

    @classmethod
    def check_quantity(cls, *stores: FeatureStore) -> None:
        """Refuse stores whose values are of another kind than the measure compares."""
        for store in stores:
            if store.quantity != cls.quantity:
                raise MismatchError(_other_quantity(str(store.path), cls.name, store.quantity, cls.quantity))

    @classmethod
    def values(cls, store: FeatureStore, other: FeatureStore) -> Values | None:
        """Values that the measure compares in place of a store's activations; None for the activations."""
        return None

    @classmethod
    def admit(cls, a: FeatureStore, b: FeatureStore, selection: Selection) -> Selection:
        """Restrict a selection to the positions that the measure is defined for; by default all."""
        return selection

    def restrict(self, documents: npt.ArrayLike) -> Self:
        """Apply the measure to the tokens of some documents, from the rows already loaded."""
        if self.selection.repaired:
            raise UniversalityError("re-paired rows belong to two documents each; restrict first, then re-pair")
        chosen = select(self.a.store, self.b.store, documents)
        if self.selection.documents is not None:
            chosen = _both(self.selection, chosen, str(self.a.store.path))
        return self._over(chosen)

    def repaired(self, rows_a: npt.ArrayLike, rows_b: npt.ArrayLike) -> Self:
        """Pair row ``rows_a[p]`` of A with row ``rows_b[p]`` of B, from the rows already loaded."""
        return self._over(select(self.a.store, self.b.store, rows=(rows_a, rows_b)))

    def on(self, device: torch.device) -> Self:
        """Compute blocks and best partners on a device, or warn that the measure or its stores cannot."""
        if self.executor is not SERIAL:
            raise UniversalityError(
                f"{self.name} similarity: an executor's workers compute on their CPUs; give a device or an executor"
            )
        if type(self).scales is TokenSource.scales:
            warn_of_cpu(self.name, device, "this measure is no scaled sum of products")
        elif self.a.whole is None or self.b.whole is None:
            warn_of_cpu(self.name, device, "both stores must fit into memory for that; raise memory_budget")
        else:
            return replace(self, device=device)
        return self

    @cached_property
    def stripes(self) -> Stripes:
        """Rows of scores on the device."""
        from universality.similarity.engine.device_sums import stripes_of

        scales = self.scales()
        assert scales is not None
        assert self.device is not None
        return stripes_of(self.moments, self.needs, scales, self.background(), self.device)

    def _over(self, selection: Selection) -> Self:
        return replace(self, selection=self.admit(self.a.store, self.b.store, selection), given=None)

    @cached_property
    def moments(self) -> CoMoments:
        """Co-moments over the selection, measured at the first access."""
        if self.given is not None:
            return self.given
        moments = self.sides.comoments(self.a, self.b, self.selection, self.memory_budget, self.executor)
        self.check(moments.a)
        self.check(moments.b)
        return moments

    def __getstate__(self) -> dict[str, Any]:
        # Another process computes here and now, and does not measure the sides again.
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return kept | {"given": self.moments, "executor": SERIAL, "device": None}

    @cached_property
    def here(self) -> Self:
        """The same source, computed by this process: units must not wait for units."""
        return self if self.executor is SERIAL else replace(self, given=self.moments, executor=SERIAL)

    @cached_property
    def shared(self) -> Shared[Self]:
        """This source as units take it: a worker receives it once, for all passes."""
        return Shared(self.here)

    @property
    def stores(self) -> tuple[FeatureStore, FeatureStore] | None:
        """The stores that are compared; None where their tokens are paired anew."""
        return None if self.selection.repaired else (self.a.store, self.b.store)

    @property
    def shape(self) -> tuple[int, int]:
        """(features of A, features of B)."""
        return self.a.n_features, self.b.n_features

    @cached_property
    def dead_rows(self) -> BoolArray:
        """[n_rows] features of A without a score."""
        return self.is_dead(self.moments.a)

    @cached_property
    def dead_cols(self) -> BoolArray:
        """[n_cols] features of B without a score."""
        return self.is_dead(self.moments.b)

    @property
    def counts(self) -> tuple[IntArray, IntArray]:
        """[n_rows], [n_cols] firings over the compared tokens."""
        return self.moments.a.count, self.moments.b.count

    @property
    def rows_per_block(self) -> int:
        """Rows of a block: few from memory; as many as the budget allows where each block rereads the stores."""
        loaded = self.a.whole is not None and self.b.whole is not None
        n_bytes = min(BLOCK_BYTES, self.memory_budget) if loaded else self.memory_budget // 2
        return rows_within(n_bytes, self.shape[1] * (4 if self.needs == "masked" else 1))

    @property
    def provenance(self) -> dict[str, Any]:
        """Record of what was compared: both stores and the tokens."""
        a, b = describe_store(self.a.store), describe_store(self.b.store)
        described = {"measure": self.name, "a": a, "b": b, "tokens": self.selection.describe()}
        described |= {} if self.device is None else {"device": describe_device(self.device)}
        return described | ({"convention": self.convention} if self.convention else {})

    @property
    def convention(self) -> dict[str, object]:
        """Conventions that the scores depend on, as JSON; by default none."""
        return {}

    def check(self, side: Side) -> None:
        """Raise an error for a side that the measure is not defined for; by default for none."""
        return

    @abstractmethod
    def is_dead(self, side: Side) -> BoolArray:
        """[n_features] True where the measure is undefined for a feature of this side."""

    @abstractmethod
    def scores(self, values: FloatArray, i: Index, j: Index) -> FloatArray:
        """Compute scores of features i and j from co-moments: [...], or [4, ...] for the masked sums.

        ``i`` and ``j`` index arrays by feature and broadcast to the shape of the scores; the result is a new array or
        ``values`` itself.
        """

    def background(self) -> tuple[FloatArray, FloatArray]:
        """x [n_rows] and y [n_cols] such that a pair that never fires together scores -x_i y_j; 0 by default.

        Only measures that subtract means have another.
        """
        return np.zeros(self.shape[0]), np.zeros(self.shape[1])

    def __init_subclass__(cls, **options: Any) -> None:
        """Do without `scales` where a subclass changes the map of scores and does not say what its scales are."""
        super().__init_subclass__(**options)
        if "scores" in vars(cls) and "scales" not in vars(cls):
            cls.scales = TokenSource.scales  # type: ignore[method-assign]

    def scales(self) -> tuple[FloatArray, FloatArray] | None:
        """s [n_rows] and t [n_cols] with scores s_i t_j x sums of products + background; None for other maps."""
        return None

    def block(self, rows: IntArray) -> FloatArray:
        """Scores [n_rows, n_cols] of distinct rows."""
        if self.device is not None:
            from universality.similarity.engine import device_blocks

            if (computed := device_blocks.block(self, rows)) is not None:
                return computed
        values = self.moments.block(self.needs, rows, self.executor)
        return self.scores(np.moveaxis(values, 1, 0) if values.ndim == 3 else values, rows[:, None], slice(None))

    def pairs(self, i: IntArray, j: IntArray) -> FloatArray:
        """Scores [n_pairs] of given pairs."""
        return self.scores(self.moments.pairs(self.needs, i, j, self.executor), i, j)

    @property
    def in_units(self) -> bool:
        """True where no array of features x features is kept, so that best partners are found in units of rows."""
        return not self.moments.fits(self.needs)

    @property
    def listed(self) -> bool:
        """True where `best` lists the pairs that fire together, row by row."""
        return self.moments.listed

    def best(self, k: int, offset: FloatArray, threshold: FloatArray, both: bool) -> tuple[Best, Best | None]:
        """Find the best partners, in units of rows where the matrix is large; see `BlockSource.best`."""
        if self.device is not None:
            from universality.similarity.engine import device_blocks

            if (found := device_blocks.best(self, k, offset, threshold, both)) is not None:
                return found
        find = best_in_units if self.in_units else best_of_blocks
        return find(self, k, offset, threshold, both)

    def best_listed(
        self, k: int, offset: FloatArray, threshold: FloatArray, floor: FloatArray | None
    ) -> tuple[Best, Best | None]:
        """Find the best partners among the pairs that fire together, and the background of rows, not of columns.

        ``floor`` [n_cols] is what scores must exceed to enter the columns' lists; None where these are not wanted.
        """
        sums, scales = self.moments.row_sums(self.needs), self.scales()

        def enter(rows: IntArray, *lists: Any) -> Any:
            if scales is not None:
                return enter_products(rows, sums.columns, sums.lines, scales[0], *lists)
            listed = sums.listed(rows)
            i, j = listed.row_of(rows), listed.cols.astype(np.int64)
            values = self.scores(self.moments.centred(self.needs, listed.values, i, j), i, j)
            return enter_entries(rows, listed._replace(values=values), *lists)

        stripes = sums.stripes(np.flatnonzero(threshold < np.inf))
        scale = None if scales is None else scales[1]
        return best_of_stripes(stripes, enter, self.background(), scale, k, offset, threshold, floor)

    def transposed(self) -> Self:
        """Exchange the sides: B against A."""
        turned = Selection(
            self.selection.rows_b, self.selection.rows_a, self.selection.documents, self.selection.repaired
        )
        return replace(self, a=self.b, b=self.a, selection=turned, sides=SideCache(), given=self.moments.transposed())

    def pairs_by_group(self, i: IntArray, j: IntArray) -> GroupMoments:
        """Sufficient statistics per group for given pairs; an error for measures without them."""
        raise UniversalityError(
            f"{self.name} similarity keeps no statistics by group; activation, attribution and phi do"
        )

    def group_codes(self) -> tuple[IntArray, tuple[str, ...]]:
        """[n_positions] unit of each position's document (see `independent_units`), coded into those that occur."""
        if self.selection.repaired:
            raise UniversalityError("re-paired rows belong to two groups each; there is nothing to sum by group")
        store = self.a.store
        units = independent_units(store.documents)
        codes = units.code[store.tokens.document[self.selection.rows_a]]
        seen, codes = np.unique(codes, return_inverse=True)
        return codes.astype(np.int64), tuple(units.names[unit] for unit in seen)


def _measured(source: StoreRows, rows: IntArray, last: Side | None, executor: Executor) -> Side:
    """Measure a side, unless ``last`` has the same rows, perhaps in another order: moments do not depend on it."""
    if last is not None and rows.size == last.rows.size and np.array_equal(np.sort(rows), np.sort(last.rows)):
        return replace(last, rows=rows)
    return measure_side(source, rows, executor)


def _both(old: Selection, new: Selection, where: str) -> Selection:
    assert old.documents is not None
    assert new.documents is not None
    rows = np.intersect1d(old.rows_a, new.rows_a, assume_unique=True)
    if not rows.size:
        raise UniversalityError(f"{where}: none of the documents given is among those already restricted to")
    return Selection(rows, rows, documents=np.intersect1d(old.documents, new.documents))


def _other_quantity(path: str, measure: str, found: str, expected: str) -> str:
    hint = {
        "activation": "give the store that collect wrote",
        "effect": "write effects with universality.effects.collect_effects",
    }[expected]
    if found == "effect":
        hint += ", or compare effects by the measure 'effect', Similarity.effect(a, b)"
    return f"{path}: holds values of quantity {found!r}, the measure {measure!r} compares {expected!r}; {hint}"
