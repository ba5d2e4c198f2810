"""Effects along the edges of families, a part of the stage ``effects``: do children do what their parent did?

Only tokens count where parent and child both fire. In one model both face the same gradient of the loss, so that their
slopes agree as far as their decoder rows do: see ``null_r`` for what equal firing alone gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from universality.config import Config
from universality.files import read_json
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.unmeasured_effects import note_unmeasured
from universality.pipeline.study import families_have_effects

if TYPE_CHECKING:
    import pandas as pd

    from universality.statistics import EffectAgreement

PERMUTATIONS = 99
"""Draws of each edge's null, for the mean that equal firing gives; too few for q of thousands of edges."""
COLUMNS = ("n", "r_per_norm", "null_r", "sign_agreement", "sign_chance")
"""Columns of `EffectAgreement.to_frame` that edges get, under the names of `universality.export.effect_columns`."""


def make_family_effects(config: Config, folder: RunFolder, model: str) -> list[Path]:
    """Compare the effects of parents and children along all edges of a model's families, a file a step in width."""
    from universality.effects import read_gradient_norms
    from universality.family import Families
    from universality.statistics import FeaturePairs, compare_effects

    if "effects" in (missing := read_json(folder.unmeasured_effects(model))):
        return [note_unmeasured(folder, f"{model}.families", {"effects of families": missing["effects"]})]
    edges, seed = Families.load(folder.families(model)).edges, config.saes.seeds[0]
    files = []
    with OpenStores() as stores:
        norms = read_gradient_norms(stores[folder.gradient_norms(model)])
        for level, (narrow, wide) in enumerate(pairwise(config.saes.widths_for(model))):
            of_step = edges.take(edges.level == level)
            (parents, effects_p), (children, effects_c) = (
                [stores[path_of(model, width, seed)] for path_of in (folder.effect_activations, folder.effects)]
                for width in (narrow, wide)
            )
            agreement = compare_effects(
                FeaturePairs(of_step.parent, of_step.child, (narrow, wide)),
                parents,
                children,
                effects_p,
                effects_c,
                norms,
                norms,
                permutations=PERMUTATIONS,
                controls=0,
                bootstrap=0,
                seed=config.statistics.seed,
            )
            files.append(agreement.save(folder.family_effects(model, narrow, wide)))
    return [*files, note_unmeasured(folder, f"{model}.families", {})]


def read_family_effects(config: Config, folder: RunFolder, model: str) -> pd.DataFrame | None:
    """Tabulate the effects along the edges of a model's families; None where this configuration measures none.

    Returns
    -------
    pandas.DataFrame
        Columns ``level parent child``, as in `universality.family.edges.Edges`, and ``effect_n effect_r effect_null_r
        effect_sign_agreement effect_sign_chance``, NaN where both fire on too few tokens.
    """
    import pandas as pd

    from universality.export import effect_columns

    steps = list(_steps(config, folder, model))
    if not steps:
        return None
    names = {"row": "parent", "col": "child"}
    tables = [
        effect_columns(step, COLUMNS).rename(columns=names).assign(level=level) for level, step in enumerate(steps)
    ]
    return pd.concat(tables, ignore_index=True)


def _steps(config: Config, folder: RunFolder, model: str) -> Iterator[EffectAgreement]:
    """Iterate over the steps in width of a model, from the narrowest; none unless all were measured."""
    from universality.statistics import EffectAgreement

    paths = [folder.family_effects(model, *widths) for widths in pairwise(config.saes.widths_for(model))]
    if families_have_effects(config, folder, model) and all(path.exists() for path in paths):
        yield from map(EffectAgreement.load, paths)
