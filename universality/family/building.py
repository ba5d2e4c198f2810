"""Build the family graph of one model's dictionaries.

The function reads top-down: `families` takes steps between widths (`universality.family.width_step`), each of which
finds candidate edges (`universality.family.candidates`), tests them all by reconstruction in one pass over the tokens
(`universality.family.reconstruction`), and counts what the rules let through by chance
(`universality.family.chance_edges`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from universality.devices import CPU, Card, card_of
from universality.errors import UniversalityError
from universality.execution import Executor, check_executor
from universality.family.chance_edges import ChanceCounts, Repairings, count_reseeded, plan_chance
from universality.family.consistent_paths import path_consistency
from universality.family.dictionaries import Level, check_reseeded, check_stores, read_level
from universality.family.edge_rule import EdgeRule, FamilySettings
from universality.family.edge_support import draw_groups, support
from universality.family.edges import Edges
from universality.family.orphans import Origins
from universality.family.reconstruction import Activations, reconstruct
from universality.family.tree import Families
from universality.family.width_step import LinkedStep, WidthStep, take_step
from universality.similarity import DEFAULT_BUDGET
from universality.statistics.repairing import Null

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


def families(
    stores: Sequence["FeatureStore"],
    *,
    activations: Activations | None = None,
    reseeded: Sequence["FeatureStore"] = (),
    min_coverage: float = FamilySettings.min_coverage,
    min_masked_cosine: float = FamilySettings.min_masked_cosine,
    min_decoder_cosine: float = FamilySettings.min_decoder_cosine,
    min_recovered: float = FamilySettings.min_recovered,
    min_firings: int = FamilySettings.min_firings,
    null: Null = "global",
    n_replicates: int = FamilySettings.replicates,
    bootstrap: int = FamilySettings.bootstrap,
    seed: int = 0,
    memory_budget: int = DEFAULT_BUDGET,
    executor: Executor | None = None,
    device: str = CPU,
) -> Families:
    """Link the features of dictionaries of rising width, parent to child.

    Parameters
    ----------
    stores
        Open stores of at least two SAEs of one model and site over the same tokens, narrowest first; or of the nested
        widths of one Matryoshka SAE.
    activations
        The model's activations at that site on the stores' tokens, in order, as arrays [n, d_in] of any n, for the
        reconstruction test. None: the wider SAE's reconstruction is used as a proxy.
    reseeded
        Stores of further SAEs of the model, each as wide as one of ``stores`` but trained from another seed. They show
        what the rules find where nothing has grown (``universality.family.chance_edges``).
    min_coverage, min_masked_cosine, min_decoder_cosine, min_recovered, min_firings
        Thresholds of the rule for an edge; ``universality.family.edge_rule`` states it and explains the defaults.
    null, n_replicates
        Null and number of replicates for counting chance edges on re-paired documents; 0 for none.
    bootstrap
        Resamples of the documents for each edge's support; 0 for none. There is no support if all documents are of one
        group.
    seed
        Seed for re-pairings, resamples and shuffles.
    memory_budget
        Bytes that the stored activations of a dictionary may use at a time; larger stores are read in portions.
    executor
        Where candidate edges and the support of edges are computed, as for `Similarity.activation`; None for this
        process.
    device
        Where candidate edges are found, by chance too: "cuda" or the number of a card, "cuda:1"; "auto" for a card
        where there is one. Sums are float64 there as well, so that values differ by rounding; decoder cosines by 1e-6.

    Returns
    -------
    Families
        Its nodes are all features, including those without edges.

    Raises
    ------
    MismatchError
        When the stores are not of one model, site and token stream (or do not record the model), are not of rising
        width, or one of them is dead; or when activations or reseeded stores do not belong to them.
    UniversalityError
        When a store lacks decoder rows, or has negative activations (MLP neurons), for which firing is not defined; or
        when both an executor and a card are given.

    Warns
    -----
    DeviceWarning
        When the CPU computes, as there is no such card or it has no room.

    References
    ----------
    Bricken et al. 2023, Towards Monosemanticity, "Feature splitting"; O'Neill et al. 2024; Leask et al. 2025.

    Examples
    --------
    A feature that fires for either of two concepts, and a wider dictionary with one feature for each:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from scipy import sparse
    >>> from universality.features import Dictionary, FeatureStore
    >>> rng = np.random.default_rng(0)
    >>> concepts = np.float32((rng.random((600, 3)) < 0.1) * rng.gamma(4, 0.25, (600, 3)))
    >>> token, text = np.arange(600), np.full(600, "text")
    >>> def write(path, sees):
    ...     writer = FeatureStore.create(path, len(sees), {"model": {"name": "m", "hash": "m"}, "site": "resid"})
    ...     codes = sparse.csr_matrix(concepts @ sees.T)
    ...     writer.append(codes, token=token, document=token // 50, position=token % 50 + 1, kind=text)
    ...     return writer.finish(dictionary=Dictionary(decoder=sees))
    >>> narrow, wide = np.array([[1, 1, 0], [0, 0, 1]], np.float32), np.eye(3, dtype=np.float32)
    >>> with TemporaryDirectory() as folder:
    ...     tree = families([write(Path(folder, f"{len(sees)}.h5"), sees) for sees in (narrow, wide)])
    >>> tree.to_frame()[["parent", "child", "kind"]]
       parent  child         kind
    0       0      0  splits into
    1       0      1  splits into
    2       1      2     persists
    """
    rule = FamilySettings(
        min_coverage, min_masked_cosine, min_decoder_cosine, min_recovered, min_firings, n_replicates, bootstrap
    ).rule
    check_stores(stores)
    places = check_reseeded(stores, reseeded)
    levels = tuple(read_level(store) for store in stores)
    repairings = plan_chance(stores[0], null, n_replicates, seed)
    given, card = (memory_budget, check_executor(executor)), card_of(device)
    if executor is not None and card is not None:
        raise UniversalityError("families: an executor's workers compute on their CPUs; give a device or an executor")
    steps = _take_steps(stores, levels, list(zip(places, reseeded, strict=True)), rule, repairings, *given, card)
    linked = _link(steps, activations, rule)
    edges = _with_support(linked.grown, rule, bootstrap, seed, *given)
    return Families(
        levels=levels,
        edges=edges,
        origins=(Origins.none(levels[0].width), *(step.origins() for step in linked.grown)),
        rule=rule,
        reconstruction="proxy" if activations is None else "activations",
        chance=_count_chance(null, seed, repairings, linked, rule),
        paths=tuple(path_consistency(i, levels, edges, step.ends, seed) for i, step in enumerate(linked.direct)),
        provenance={
            "tokens_hash": stores[0].tokens_hash,
            "stores": [{"name": store.path.name, "provenance": store.provenance} for store in stores],
        },
    )


class _Steps(NamedTuple):
    """Steps before the reconstruction tests."""

    grown: list[WidthStep]  # from each width to the next
    direct: list[WidthStep]  # from each width to the one after the next
    reseeded: list[WidthStep]  # to a dictionary of the same width and another seed


class _LinkedSteps(NamedTuple):
    """The same steps after the tests."""

    grown: list[LinkedStep]
    direct: list[LinkedStep]
    reseeded: list[LinkedStep]


def _take_steps(
    stores: Sequence["FeatureStore"],
    levels: tuple[Level, ...],
    reseeded: Sequence[tuple[int, "FeatureStore"]],
    rule: EdgeRule,
    repairings: Repairings,
    memory_budget: int,
    executor: Executor,
    device: Card | None,
) -> _Steps:
    """Find the candidate edges of all steps; only steps to the next width are repeated on re-paired tokens."""

    def step(i: int, other: "FeatureStore", level: Level, rows: Sequence[tuple] = ()) -> WidthStep:
        return take_step(i, (stores[i], other), (levels[i], level), rule, memory_budget, rows, executor, device)

    last = len(stores) - 1
    return _Steps(
        grown=[step(i, stores[i + 1], levels[i + 1], repairings.rows) for i in range(last)],
        direct=[step(i, stores[i + 2], levels[i + 2]) for i in range(last - 1)],
        reseeded=[step(i, store, read_level(store)) for i, store in reseeded],
    )


def _link(steps: _Steps, activations: Activations | None, rule: EdgeRule) -> _LinkedSteps:
    """Apply the fourth rule to all steps, whose tests share one pass over the tokens."""
    trials = [step.trial for group in steps for step in group]
    results = iter(reconstruct(trials, activations))
    return _LinkedSteps(*([LinkedStep.of(step, next(results), rule) for step in group] for group in steps))


def _with_support(
    grown: Sequence[LinkedStep], rule: EdgeRule, draws: int, seed: int, memory_budget: int, executor: Executor
) -> Edges:
    """Collect the edges between adjacent widths, each with its bootstrap support."""
    parts = []
    group, weights = draw_groups(grown[0].step.stores[0], draws, seed)
    for linked in grown:
        parent, child = linked.ends
        share = np.full(parent.size, np.nan)
        if draws and weights.shape[1] > 1:  # with one group every draw is the same
            share = support(linked.step.stores, parent, child, rule, group, weights, memory_budget, executor)
        parts.append(linked.edges(share))
    return Edges.concatenate(parts).sorted()


def _count_chance(null: Null, seed: int, repairings: Repairings, linked: _LinkedSteps, rule: EdgeRule) -> ChanceCounts:
    """Count the pairs that pass the rules: on the text as it is, on re-paired text, towards SAEs of another seed."""
    grown = [each.step for each in linked.grown]
    return ChanceCounts(
        null=null,
        seed=seed,
        observed=tuple(step.candidates.counts for step in grown),
        repaired=tuple(tuple(candidates.counts for candidates in step.repaired) for step in grown),
        share=repairings.share,
        note=repairings.note,
        reseeded=tuple(
            count_reseeded(each.step.level, each.step.levels, rule, each.step.candidates.counts, *each.ends)
            for each in linked.reseeded
        ),
    )
