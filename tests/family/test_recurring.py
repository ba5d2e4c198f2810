"""Whether families recur: all of them in a copy, none more than chance in a stranger, and who is asked."""

import importlib
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from universality.errors import MismatchError, UniversalityError
from universality.family import Families, families, recurrence
from universality.family.edges import best_parents
from universality.features.storage.store import FeatureStore


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Families, Families, list[pd.DataFrame]]:
    """Families of 30 roots with two or three children each, the same with features in another order, and partners."""
    from stores import write_into

    rng = np.random.default_rng(2)
    folder = tmp_path_factory.mktemp("forest")
    roots, n_tokens, d_in = 30, 8000, 128
    parent = np.repeat(np.arange(roots), rng.integers(2, 4, roots))
    owner = rng.integers(0, roots, n_tokens)
    part = np.array([rng.choice(np.flatnonzero(parent == root)) for root in owner])
    strength = rng.gamma(4, 0.25, n_tokens)
    narrow, wide = np.zeros((n_tokens, roots)), np.zeros((n_tokens, parent.size))
    narrow[np.arange(n_tokens), owner] = strength
    wide[np.arange(n_tokens), part] = strength
    d = rng.standard_normal((roots, d_in))
    e = d[parent] + 0.5 * rng.standard_normal((parent.size, d_in))
    orders = [rng.permutation(roots), rng.permutation(parent.size)]
    found = []
    for name, shuffle in (("A", [np.arange(roots), np.arange(parent.size)]), ("B", orders)):
        stores = [
            write_into(folder, f"{name}{k}", x[:, s].astype(np.float32), rows[s].astype(np.float32), model=name)
            for k, (x, rows, s) in enumerate(zip((narrow, wide), (d, e), shuffle, strict=True))
        ]
        found.append(families(stores, n_replicates=0, bootstrap=0))
    partners = [
        pd.DataFrame({"row": order, "col": np.arange(order.size), "score": rng.random(order.size)}) for order in orders
    ]
    return found[0], found[1], partners


def test_a_copy_recurs_whole_and_beyond_chance(forest: tuple) -> None:
    a, b, partners = forest
    found = recurrence(a, b, partners)
    frame = found.to_frame().set_index("question")
    assert frame.loc["parents", "asked"] == len(best_parents(a.edges)) == b.levels[1].width
    assert frame.loc["splits", "asked"] == 30
    assert frame.loc["siblings", "asked"] == sum(n * (n - 1) // 2 for n in np.bincount(a.edges.parent))
    assert (frame["share"] == 1).all()
    assert frame["ci_low"].isna().all()  # no parent dissents: resampling them says nothing
    assert (frame["chance_high"] < 0.2).all()
    assert_allclose(frame["p"], 1 / 201)
    assert found.partners == (30, b.levels[1].width)


@pytest.mark.parametrize(("n", "share"), [(6, 0.6), (16, 0.6), (24, 0.3), (40, 0.9), (40, 1.0)])
def test_an_interval_over_parents_covers_or_is_withheld(n: int, share: float) -> None:
    module = importlib.import_module("universality.family.recurring")
    rng, covered = np.random.default_rng(0), []
    for _ in range(300):
        children, chance = rng.integers(1, 5, n), rng.beta(2 * share, max(2 * (1 - share), 1e-9), n)
        parent = np.repeat(np.arange(n), children)
        low, high = module._interval(parent, (rng.random(parent.size) < chance[parent]).astype(np.int64), 200, rng)
        if low is not None and high is not None:
            covered.append(low <= share <= high)
    assert not covered if n < module.MIN_PARENTS or share == 1 else np.mean(covered) >= 0.88


def test_control_a_stranger_recurs_as_chance_has_it(forest: tuple) -> None:
    a, b, partners = forest
    rng = np.random.default_rng(0)
    strangers = [some.assign(col=rng.permutation(some["col"].to_numpy())) for some in partners]
    frame = recurrence(a, b, strangers).to_frame()
    assert (frame["share"] <= frame["chance_high"]).all()
    assert (frame["p"] > 0.04).all()


def test_half_of_the_children_swapped_is_seen_in_the_share(forest: tuple) -> None:
    a, b, (low, high) = forest
    swapped = high.copy()
    some = np.arange(0, len(high), 2)
    swapped.loc[some, "col"] = np.roll(high.loc[some, "col"].to_numpy(), 1)
    frame = recurrence(a, b, [low, swapped]).to_frame().set_index("question")
    partner = dict(zip(swapped["row"], swapped["col"], strict=True))
    above = dict(zip(low["row"], low["col"], strict=True))
    parent_b = dict(zip(b.edges.child.tolist(), b.edges.parent.tolist(), strict=True))
    yes = [
        parent_b[partner[j]] == above[i] for i, j in zip(a.edges.parent.tolist(), a.edges.child.tolist(), strict=True)
    ]
    assert frame.loc["parents", "yes"] == sum(yes)
    assert frame.loc["parents", "ci_low"] < frame.loc["parents", "share"] < frame.loc["parents", "ci_high"]


def test_a_floor_leaves_out_who_has_no_real_partner(forest: tuple) -> None:
    a, b, partners = forest
    found = recurrence(a, b, partners, floor=0.5)
    assert found.partners == tuple(int((some["score"] >= 0.5).sum()) for some in partners)
    assert found.to_frame()["asked"].iloc[0] < recurrence(a, b, partners).to_frame()["asked"].iloc[0]
    nobody = recurrence(a, b, partners, floor=2).to_frame()
    assert (nobody["asked"] == 0).all()
    assert nobody["share"].isna().all()


def test_matches_are_taken_as_tables_are(forest: tuple) -> None:
    a, b, partners = forest
    as_match = [SimpleNamespace(rows=p["row"], cols=p["col"], scores=p["score"]) for p in partners]
    assert recurrence(a, b, as_match) == recurrence(a, b, partners)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:1], "partners of 1 widths"),
        (lambda p: p[::-1], r"partners up to feature \d+ for dictionaries of 30"),
        (lambda p: [p[0].assign(col=0), p[1]], "a feature with two partners"),
        (lambda p: [3, 4], "expected a Match or a table with row, col and score, found int"),
    ],
)
def test_partners_that_cannot_be_right_are_refused(forest: tuple, change: Callable, message: str) -> None:
    a, b, partners = forest
    with pytest.raises(MismatchError, match=message):
        recurrence(a, b, change(partners))


def test_other_widths_are_refused(forest: tuple, stores: list[FeatureStore], planted: Families) -> None:
    with pytest.raises(MismatchError, match="compare equal widths"):
        recurrence(forest[0], planted, forest[2])


def test_within_kind_chance_keeps_kinds_together(forest: tuple) -> None:
    """Where every family is of a kind of its own, dealing out within kinds changes nothing for parents."""
    from dataclasses import replace

    a, b, partners = forest
    root = np.zeros(b.levels[1].width, np.int64)
    root[b.edges.child] = b.edges.parent
    kinds = (tuple(f"k{i}" for i in range(b.levels[0].width)), tuple(f"k{i}" for i in root))
    levels = tuple(replace(level, kind=kind) for level, kind in zip(b.levels, kinds, strict=True))
    own = recurrence(a, replace(b, levels=levels), partners, null="kind", replicates=20).to_frame()
    assert (own["chance"] == 1).all()
    assert (own["p"] == 1).all()
    assert (recurrence(a, b, partners, null="kind", replicates=20).to_frame()["chance"] < 0.5).all()
    with pytest.raises(UniversalityError, match="unknown null 'none'"):
        recurrence(a, b, partners, null="none")
