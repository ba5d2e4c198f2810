"""Do the families of one model recur in another?

Given the family trees of A and B over the same widths and, at each width, partners (a matching of A's features with
B's), three questions are asked of each step from a width to the next. Only features with partners can answer.

- *parents*: of A's tree edges i → j whose ends both have partners, how many are tree edges of B: is the partner of the
  parent the parent of the child's partner?
- *siblings*: of pairs of A's features with one parent, both with partners, how many partners have one parent in B? This
  asks nothing of the parents' matching.
- *splits*: of A's features that split, themselves and two children or more with partners, how many have a partner whose
  tree children hold two of the children's partners or more?

Chance: the partners of each width are dealt out anew among B's matched features that fire about as often (strata of
firing counts), which keeps who splits, who fires how often and how many are matched, and breaks who is whose partner.
Within kind they are dealt out among features of one kind of text besides: what recurs only because all features of one
script stand under one another then recurs by chance too.
Ceiling: the same questions put to two SAE seeds of one model, which the caller asks by passing their families.
Intervals bootstrap A's parents, as children of one parent are no independent evidence. With a floor on the pairs'
scores only features that recur themselves are asked, which separates the question of families from that of features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from universality.arrays import FloatArray, IntArray
from universality.errors import MismatchError, UniversalityError
from universality.family.dictionaries import Level
from universality.family.edges import best_parents
from universality.statistics.null_classes import stratify
from universality.statistics.repairing import Null

if TYPE_CHECKING:
    import pandas as pd

    from universality.family.tree import Families

QUESTIONS = ("parents", "siblings", "splits")
N_STRATA = 10
MIN_PARENTS, MIN_DISSENTING = 16, 4
"""Least parents with an interval, and least of them with a yes and with a no: below, simulated intervals covered the
share in 29 to 89% of the draws, and where all agree their width is zero."""


@dataclass(frozen=True)
class Answer:
    """One question at one step.

    Parameters
    ----------
    question
        One of ``QUESTIONS``.
    parent_width, child_width
        The step.
    asked, yes
        How many edges, pairs of siblings or splits could answer, and how many recur.
    share, ci_low, ci_high
        yes / asked with a 95% interval over A's parents; None if none could answer, the interval also where parents are
        too few (``MIN_PARENTS``, ``MIN_DISSENTING``).
    chance, chance_high
        Mean and 95th percentile of the share with partners dealt out anew; None if none could answer.
    p
        (1 + replicates of chance that reach the share) / (1 + replicates); None if none could answer.
    """

    question: str
    parent_width: int
    child_width: int
    asked: int
    yes: int
    share: float | None
    ci_low: float | None
    ci_high: float | None
    chance: float | None
    chance_high: float | None
    p: float | None


@dataclass(frozen=True)
class Recurrence:
    """Answers to all questions at all steps.

    Parameters
    ----------
    answers
        By step, then question.
    floor
        Least score of a pair that counts as partners; None for all.
    null
        What chance is.
    partners
        Pairs that were used at each width.
    """

    answers: tuple[Answer, ...]
    floor: float | None
    null: Null
    partners: tuple[int, ...]

    def to_frame(self) -> "pd.DataFrame":
        """One row an answer; the columns are its fields."""
        import pandas as pd

        names = [field.name for field in fields(Answer)]
        return pd.DataFrame([[getattr(answer, name) for name in names] for answer in self.answers], columns=names)


def recurrence(
    a: "Families",
    b: "Families",
    partners: Sequence[Any],
    *,
    floor: float | None = None,
    null: Null = "global",
    replicates: int = 200,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Recurrence:
    """Ask whether A's families recur in B.

    Parameters
    ----------
    a, b
        Families over the same widths.
    partners
        For each width, narrowest first, A's features with their partners in B: a ``Match``, or a table with the columns
        ``row``, ``col`` and ``score``. A feature may be in one pair at most on each side.
    floor
        Pairs with a smaller score count as no partners; None for all.
    null
        "global": partners are dealt out anew among all features that fire about as often; "kind": among those of one
        kind of text.
    replicates
        Times that the partners are dealt out anew for chance.
    bootstrap
        Resamples of A's parents for the intervals.
    seed
        Of both.

    Raises
    ------
    MismatchError
        When widths differ, or a width has no partners or such as do not fit it.
    UniversalityError
        When the null is unknown.
    """
    widths = [level.width for level in a.levels]
    if widths != [level.width for level in b.levels]:
        raise MismatchError(
            f"recurrence: families over widths {widths} and {[level.width for level in b.levels]}; compare equal widths"
        )
    if len(partners) != len(widths):
        raise MismatchError(
            f"recurrence: partners of {len(partners)} widths, expected one matching for each of {widths}"
        )
    if null not in get_args(Null):
        raise UniversalityError(f"recurrence: unknown null {null!r}; choose one of {', '.join(get_args(Null))}")
    maps = [_partner_of(some, width, floor) for some, width in zip(partners, widths, strict=True)]
    trees = [_parent_of(families) for families in (a, b)]
    rng = np.random.default_rng(seed)
    dealt = [_Deal(partner, level, null, rng) for partner, level in zip(maps, b.levels, strict=True)]
    answers = []
    for step in range(len(widths) - 1):
        ask = [_Step(maps[step], maps[step + 1], trees[0][step], trees[1][step])]
        ask += [
            _Step(dealt[step].draw(), dealt[step + 1].draw(), trees[0][step], trees[1][step]) for _ in range(replicates)
        ]
        for question in QUESTIONS:
            observed, *by_chance = [getattr(some, question)() for some in ask]
            answers.append(_answer(question, widths[step : step + 2], observed, by_chance, bootstrap, rng))
    return Recurrence(tuple(answers), floor, null, tuple(int((partner >= 0).sum()) for partner in maps))


@dataclass(frozen=True, eq=False)
class _Step:
    """Partners ``low`` [n_a], ``high`` [m_a] of parents and children, A's and B's parent of each child; -1: none."""

    low: IntArray
    high: IntArray
    parent_a: IntArray
    parent_b: IntArray

    def parents(self) -> tuple[IntArray, IntArray]:
        """(parent, 1 where it recurs) of every edge that can answer."""
        child = np.flatnonzero((self.parent_a >= 0) & (self.high >= 0))
        child = child[self.low[self.parent_a[child]] >= 0]
        own = self.parent_a[child]
        return own, (self.parent_b[self.high[child]] == self.low[own]).astype(np.int64)

    def siblings(self) -> tuple[IntArray, IntArray]:
        """(parent, 1 where they are siblings in B) of every pair of siblings."""
        child = np.flatnonzero((self.parent_a >= 0) & (self.high >= 0))
        child = child[np.argsort(self.parent_a[child], kind="stable")]
        own, theirs = self.parent_a[child], self.parent_b[self.high[child]]
        start, size = _runs(own)
        first, second = _pairs_within(start, size)
        same = (theirs[first] == theirs[second]) & (theirs[first] >= 0)
        return own[first], same.astype(np.int64)

    def splits(self) -> tuple[IntArray, IntArray]:
        """(parent, 1 where its partner has two of its children's partners) of every split that can answer."""
        own, kept = self.parents()
        asked = np.bincount(own, minlength=self.low.size)
        recur = np.bincount(own, kept, minlength=self.low.size)
        parent = np.flatnonzero(asked >= 2)
        return parent, (recur[parent] >= 2).astype(np.int64)


class _Deal:
    """Deals the partners of one width out anew within strata of how often they fire in B, and perhaps of kinds."""

    def __init__(self, partner: IntArray, level: Level, null: Null, rng: np.random.Generator) -> None:
        self.partner, self.rng = partner, rng
        self.matched = np.flatnonzero(partner >= 0)
        theirs = partner[self.matched]
        code = stratify(level.count[theirs], 1, N_STRATA).code
        if null == "kind":
            _, kind = np.unique(np.array([level.kind[j] or "" for j in theirs], dtype=np.str_), return_inverse=True)
            code = code + N_STRATA * kind.astype(np.int64)
        self.strata = [np.flatnonzero(code == some) for some in np.unique(code)]

    def draw(self) -> IntArray:
        """Partners [n], -1 where there was none."""
        other, theirs = np.full_like(self.partner, -1), self.partner[self.matched]
        for stratum in self.strata:
            other[self.matched[stratum]] = theirs[self.rng.permutation(stratum)]
        return other


def _partner_of(pairs: Any, width: int, floor: float | None) -> IntArray:
    """Partner of each of A's features, -1 for none, from a match or a table."""
    names = ("rows", "cols", "scores") if hasattr(pairs, "rows") else ("row", "col", "score")
    try:
        row, col, score = (np.asarray(getattr(pairs, name)) for name in names)
    except AttributeError:
        raise MismatchError(
            f"recurrence: expected a Match or a table with row, col and score, found {type(pairs).__name__}"
        ) from None
    if floor is not None:
        row, col = row[score >= floor], col[score >= floor]
    for ends in (row, col):
        if ends.size and (ends.min() < 0 or ends.max() >= width):
            raise MismatchError(
                f"recurrence: partners up to feature {ends.max()} for dictionaries of {width}; give the matchings "
                "in the order of the widths"
            )
        if np.unique(ends).size < ends.size:
            raise MismatchError(
                "recurrence: a feature with two partners; match one-to-one (method hungarian or mutual), not nearest"
            )
    partner = np.full(width, -1, np.int64)
    partner[row] = col
    return partner


def _parent_of(families: "Families") -> list[IntArray]:
    """For every step each child's parent in the tree, -1 for none."""
    tree = families.edges.take(best_parents(families.edges))
    found = []
    for step, level in enumerate(families.levels[1:]):
        parent = np.full(level.width, -1, np.int64)
        here = tree.level == step
        parent[tree.child[here]] = tree.parent[here]
        found.append(parent)
    return found


def _answer(
    question: str,
    widths: Sequence[int],
    observed: tuple[IntArray, IntArray],
    by_chance: Sequence[tuple[IntArray, IntArray]],
    bootstrap: int,
    rng: np.random.Generator,
) -> Answer:
    parent, yes = observed
    if not parent.size:
        return Answer(question, widths[0], widths[1], 0, 0, None, None, None, None, None, None)
    share = float(yes.mean())
    low, high = _interval(parent, yes, bootstrap, rng)
    shares = np.array([some.mean() for _, some in by_chance if some.size])
    beaten = int((shares >= share).sum())
    return Answer(
        question=question,
        parent_width=widths[0],
        child_width=widths[1],
        asked=parent.size,
        yes=int(yes.sum()),
        share=share,
        ci_low=low,
        ci_high=high,
        chance=float(shares.mean()) if shares.size else None,
        chance_high=float(np.quantile(shares, 0.95)) if shares.size else None,
        p=(1 + beaten) / (1 + shares.size) if shares.size else None,
    )


def _interval(
    parent: IntArray, yes: IntArray, draws: int, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """95% percentile interval of the share, parents drawn with replacement; None where parents are too few to tell."""
    _, code = np.unique(parent, return_inverse=True)
    asked, found = np.bincount(code).astype(float), np.bincount(code, yes)
    with_yes, with_no = int((found > 0).sum()), int((found < asked).sum())
    if draws < 1 or asked.size < MIN_PARENTS or min(with_yes, with_no) < MIN_DISSENTING:
        return None, None
    weights: FloatArray = rng.multinomial(asked.size, np.full(asked.size, 1 / asked.size), size=draws).astype(float)
    shares = weights @ found / (weights @ asked)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)


def _runs(values: IntArray) -> tuple[IntArray, IntArray]:
    """Start and length of each run of equal neighbours."""
    start = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if values.size else np.zeros(0, np.int64)
    return start, np.diff(np.r_[start, values.size])


def _pairs_within(start: IntArray, size: IntArray) -> tuple[IntArray, IntArray]:
    """All pairs of positions within each run."""
    pairs = [np.add(np.triu_indices(n, 1), s) for s, n in zip(start.tolist(), size.tolist(), strict=True) if n > 1]
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, second = np.concatenate(pairs, axis=1)
    return first, second
