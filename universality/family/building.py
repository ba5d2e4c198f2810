"""Build the family graph of one model's dictionaries: three rules for an edge, a reconstruction test, chance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import BoolArray
from universality.family.chance_edges import Chance, Repairings, count_reseeded, plan_chance
from universality.family.consistent_paths import path_consistency
from universality.family.dictionaries import Level, check_reseeded, check_stores, read_level
from universality.family.edge_rule import EdgeRule, FamilySettings
from universality.family.edge_support import draw_groups, support
from universality.family.edges import Edges
from universality.family.orphans import Origins
from universality.family.reconstruction import Activations, Tested, reconstruct
from universality.family.tree import Families
from universality.family.width_step import Step, take_step
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
) -> Families:
    """Link the features of dictionaries of rising width, parent to child.

    Parameters
    ----------
    stores
        Open stores of SAEs of one model and site over the same tokens, narrowest first, at least two; or of the
        nested widths of one Matryoshka SAE.
    activations
        The model's activations at that site on the stores' tokens, in order, as arrays [n, d_in] of any n, for the
        reconstruction test. None: the wider SAE's reconstruction stands in, a proxy.
    reseeded
        Stores of further SAEs of the model, each as wide as one of ``stores`` but of another seed: what the rules
        find where nothing has grown (``universality.family.chance_edges``).
    min_coverage, min_masked_cosine, min_decoder_cosine, min_recovered, min_firings
        The rule for an edge: ``universality.family.edge_rule`` states it and gives the reasons for the defaults.
    null, n_replicates
        How chance is counted on re-paired documents; 0 replicates for not at all.
    bootstrap
        Resamples of the documents for each edge's support; 0 for none, and none where all are of one group.
    seed
        Of all of these.
    memory_budget
        Bytes that the stored activations of a dictionary may take at a time; larger ones are read in portions.

    Returns
    -------
    Families
        Features without edges stay in it as nodes.

    Raises
    ------
    MismatchError
        When the stores are not of one model, site and token stream (or do not say of which model), not of
        rising width, or one of them is dead; or when activations or reseeded stores do not belong to them.
    UniversalityError
        When a store lacks decoder rows, or activations are negative (MLP neurons): then it is not defined what
        fires.

    References
    ----------
    Bricken et al. 2023, Towards Monosemanticity, "Feature splitting"; O'Neill et al. 2024; Leask et al. 2025.
    """
    rule = FamilySettings(
        min_coverage, min_masked_cosine, min_decoder_cosine, min_recovered, min_firings, n_replicates, bootstrap
    ).rule
    check_stores(stores)
    places = check_reseeded(stores, reseeded)
    levels = tuple(read_level(store) for store in stores)
    repairings = plan_chance(stores[0], null, n_replicates, seed)

    def step(a: int, other: "FeatureStore", level: Level, rows: Repairings | None = None) -> Step:
        pairings = rows.rows if rows else ()
        return take_step(a, (stores[a], other), (levels[a], level), rule, memory_budget, pairings)

    last = len(stores) - 1
    grown = [step(i, stores[i + 1], levels[i + 1], repairings) for i in range(last)]
    direct = [step(i, stores[i + 2], levels[i + 2]) for i in range(last - 1)]
    equal = [step(i, store, read_level(store)) for i, store in zip(places, reseeded, strict=True)]
    steps = [*grown, *direct, *equal]
    tested = reconstruct([some.trial for some in steps], activations)
    kept = [some.passing(result, rule) for some, result in zip(steps, tested, strict=True)]
    edges = _with_support(grown, tested, kept, rule, bootstrap, seed, memory_budget)
    ends = [(some.found.parent[keep], some.found.child[keep]) for some, keep in zip(steps, kept, strict=True)]
    chance = Chance(
        null=null,
        seed=seed,
        found=tuple(some.found.met for some in grown),
        repaired=tuple(tuple(found.met for found in some.by_chance) for some in grown),
        share=repairings.share,
        note=repairings.note,
        reseeded=tuple(
            count_reseeded(some.level, some.levels, rule, some.found.met, *pairs)
            for some, pairs in zip(equal, ends[len(grown) + len(direct) :], strict=True)
        ),
    )
    paths = [path_consistency(i, levels, edges, ends[len(grown) + i], seed) for i in range(len(direct))]
    return Families(
        levels=levels,
        edges=edges,
        origins=(Origins.none(levels[0].width), *map(Step.origins, grown, tested)),
        rule=rule,
        reconstruction="proxy" if activations is None else "activations",
        chance=chance,
        paths=tuple(paths),
        provenance={
            "tokens_hash": stores[0].tokens_hash,
            "stores": [{"name": store.path.name, "provenance": store.provenance} for store in stores],
        },
    )


def _with_support(
    steps: Sequence[Step],
    tested: Sequence[Tested],
    kept: Sequence[BoolArray],
    rule: EdgeRule,
    draws: int,
    seed: int,
    memory_budget: int,
) -> Edges:
    """The edges of all steps, each with its bootstrap support."""
    parts = []
    group, weights = draw_groups(steps[0].stores[0], draws, seed)
    for step, result, keep in zip(steps, tested, kept, strict=False):
        parent, child = step.found.parent[keep], step.found.child[keep]
        held = np.full(parent.size, np.nan)
        if draws and weights.shape[1] > 1:  # of one group every draw is the same
            held = support(step.stores, parent, child, rule, group, weights, memory_budget)
        parts.append(step.edges(result, keep, held))
    return Edges.concatenate(parts).sorted()
