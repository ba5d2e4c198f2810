"""Recurrence of one model's families in another model.

Given the family trees of A and B over the same widths and, at each width, partners (a matching of A's features with
B's), three questions are answered for each step from one width to the next. Only features with partners count.

- *parents*: of A's tree edges i → j with partners at both ends, the share that are tree edges of B, i.e. the parent's
  partner is the parent of the child's partner.
- *siblings*: of pairs of A's features with the same parent, both with partners, the share whose partners have the same
  parent in B. This does not depend on the parents' matching.
- *splits*: of A's features that split and have a partner, as have two children or more, the share whose partner has at
  least two of the children's partners among its tree children.

Chance: the partners of each width are permuted among B's matched features that fire about as often (strata of firing
counts). This preserves which features split, firing counts and the number of matched features, and removes the
correspondence between partners. Within kinds, partners are permuted only among features of one kind of text: families
that recur only because all features of one script descend from each other then also recur by chance.

Ceiling: the same questions for two SAE seeds of one model, whose families the caller passes.

Intervals bootstrap A's parents, because children of one parent are not independent. With a floor on the pairs' scores
only features that recur themselves count, which separates the recurrence of families from that of features.
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
"""Minimum number of parents for an interval, and of parents with a yes and with a no. Below, simulated intervals
covered the share in 29 to 89% of the draws, and where all parents agree their width is zero."""


@dataclass(frozen=True)
class Answer:
    """Answer to one question at one step.

    Parameters
    ----------
    question
        One of ``QUESTIONS``.
    parent_width, child_width
        The two widths of the step.
    asked, yes
        Number of edges, pairs of siblings or splits that count, and of those that recur.
    share, ci_low, ci_high
        yes / asked with a 95% interval over A's parents. None if ``asked`` is 0; the interval also if there are too few
        parents (``MIN_PARENTS``, ``MIN_DISSENTING``).
    chance, chance_high
        Mean and 95th percentile of the share with permuted partners; None if ``asked`` is 0.
    p
        (1 + replicates of chance that reach the share) / (1 + replicates); None if ``asked`` is 0.
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
        Ordered by step, then question.
    floor
        Minimum score of a pair that counts as partners; None for no minimum.
    null
        "global" or "kind", see `recurrence`.
    partners
        Number of pairs used at each width.
    """

    answers: tuple[Answer, ...]
    floor: float | None
    null: Null
    partners: tuple[int, ...]

    def to_frame(self) -> "pd.DataFrame":
        """Tabulate the answers, one row each; the columns are their fields."""
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
    """Test whether A's families recur in B.

    Parameters
    ----------
    a, b
        Families over the same widths.
    partners
        For each width, narrowest first, A's features with their partners in B: a ``Match``, or a table with the columns
        ``row``, ``col`` and ``score``. Each feature may be in at most one pair.
    floor
        Pairs with a smaller score do not count as partners; None for no minimum.
    null
        "global": partners are permuted among all features that fire about as often; "kind": only among those of one
        kind of text.
    replicates
        Number of permutations for chance.
    bootstrap
        Resamples of A's parents for the intervals.
    seed
        Seed for permutations and resamples.

    Returns
    -------
    Recurrence

    Raises
    ------
    MismatchError
        When widths differ, or the partners of a width are missing or out of range.
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
    maps = [_partner_of(pairs, width, floor) for pairs, width in zip(partners, widths, strict=True)]
    trees = [_parent_of(families) for families in (a, b)]
    rng = np.random.default_rng(seed)
    permuted = [_PermutedPartners(partner, level, null, rng) for partner, level in zip(maps, b.levels, strict=True)]
    answers = []
    for step in range(len(widths) - 1):
        parents = trees[0][step], trees[1][step]
        # All questions share the same permutations.
        steps = [_PartneredStep(maps[step], maps[step + 1], *parents)]
        steps += [_PartneredStep(permuted[step].draw(), permuted[step + 1].draw(), *parents) for _ in range(replicates)]
        for question in QUESTIONS:
            observed, *by_chance = [getattr(partnered, question)() for partnered in steps]
            answers.append(_answer(question, widths[step : step + 2], observed, by_chance, bootstrap, rng))
    return Recurrence(tuple(answers), floor, null, tuple(int((partner >= 0).sum()) for partner in maps))


@dataclass(frozen=True, eq=False)
class _PartneredStep:
    """Partners of A's features at two widths, ``low`` [n_a] and ``high`` [m_a], and each child's parent; -1: none."""

    low: IntArray
    high: IntArray
    parent_a: IntArray
    parent_b: IntArray

    def parents(self) -> tuple[IntArray, IntArray]:
        """Return parent and recurrence (0 or 1) of every edge with partners at both ends."""
        child = np.flatnonzero((self.parent_a >= 0) & (self.high >= 0))
        child = child[self.low[self.parent_a[child]] >= 0]
        parent = self.parent_a[child]
        return parent, (self.parent_b[self.high[child]] == self.low[parent]).astype(np.int64)

    def siblings(self) -> tuple[IntArray, IntArray]:
        """Return parent and recurrence (0 or 1) of every pair of siblings with partners."""
        child = np.flatnonzero((self.parent_a >= 0) & (self.high >= 0))
        child = child[np.argsort(self.parent_a[child], kind="stable")]
        in_a, in_b = self.parent_a[child], self.parent_b[self.high[child]]
        start, size = _runs(in_a)
        first, second = _pairs_within(start, size)
        same = (in_b[first] == in_b[second]) & (in_b[first] >= 0)
        return in_a[first], same.astype(np.int64)

    def splits(self) -> tuple[IntArray, IntArray]:
        """Return parent and recurrence (0 or 1) of every split with partners of two children or more."""
        of_edge, recurs = self.parents()
        asked = np.bincount(of_edge, minlength=self.low.size)
        recur = np.bincount(of_edge, recurs, minlength=self.low.size)
        parent = np.flatnonzero(asked >= 2)
        return parent, (recur[parent] >= 2).astype(np.int64)


class _PermutedPartners:
    """Permutations of the partners of one width within strata of firing counts in B and, optionally, of kinds."""

    def __init__(self, partner: IntArray, level: Level, null: Null, rng: np.random.Generator) -> None:
        self.partner, self.rng = partner, rng
        self.matched = np.flatnonzero(partner >= 0)
        in_b = partner[self.matched]
        code = stratify(level.count[in_b], 1, N_STRATA).code
        if null == "kind":
            _, kind = np.unique(np.array([level.kind[j] or "" for j in in_b], dtype=np.str_), return_inverse=True)
            code = code + N_STRATA * kind.astype(np.int64)  # one stratum per kind and class of firing counts
        self.strata = [np.flatnonzero(code == stratum) for stratum in np.unique(code)]

    def draw(self) -> IntArray:
        """Draw partners [n], -1 where there is none."""
        drawn, in_b = np.full_like(self.partner, -1), self.partner[self.matched]
        for stratum in self.strata:
            drawn[self.matched[stratum]] = in_b[self.rng.permutation(stratum)]
        return drawn


def _partner_of(pairs: Any, width: int, floor: float | None) -> IntArray:
    """Read the partner of each of A's features (-1: none) from a match or a table."""
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
    """Find each child's parent in the tree (-1: none), for every step."""
    tree = families.edges.take(best_parents(families.edges))
    parents = []
    for step, level in enumerate(families.levels[1:]):
        parent = np.full(level.width, -1, np.int64)
        here = tree.level == step
        parent[tree.child[here]] = tree.parent[here]
        parents.append(parent)
    return parents


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
    shares = np.array([permuted.mean() for _, permuted in by_chance if permuted.size])
    n_reached = int((shares >= share).sum())  # replicates in which nothing could be asked are left out
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
        p=(1 + n_reached) / (1 + shares.size) if shares.size else None,
    )


def _interval(
    parent: IntArray, yes: IntArray, draws: int, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """Bootstrap a 95% percentile interval of the share over parents; None where there are too few of them."""
    _, code = np.unique(parent, return_inverse=True)
    asked, recur = np.bincount(code).astype(float), np.bincount(code, yes)
    with_yes, with_no = int((recur > 0).sum()), int((recur < asked).sum())
    if draws < 1 or asked.size < MIN_PARENTS or min(with_yes, with_no) < MIN_DISSENTING:
        return None, None
    weights: FloatArray = rng.multinomial(asked.size, np.full(asked.size, 1 / asked.size), size=draws).astype(float)
    # A ratio of sums: parents have different numbers of children, and edges, not parents, have equal weight.
    shares = weights @ recur / (weights @ asked)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)


def _runs(values: IntArray) -> tuple[IntArray, IntArray]:
    """Find start and length of each run of equal neighbours."""
    start = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if values.size else np.zeros(0, np.int64)
    return start, np.diff(np.r_[start, values.size])


def _pairs_within(start: IntArray, size: IntArray) -> tuple[IntArray, IntArray]:
    """List all pairs of positions within each run."""
    pairs = [np.add(np.triu_indices(n, 1), s) for s, n in zip(start.tolist(), size.tolist(), strict=True) if n > 1]
    if not pairs:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, second = np.concatenate(pairs, axis=1)
    return first, second
