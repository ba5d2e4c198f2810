"""For each kind of text the feature that knows it best, its partner in the other model, and how alike they are.

Which feature that is, is decided by the kinds' labels alone (F1 of firing mass and of firing), never by a similarity,
so its partner's score is not chosen for being high. A kind may have several features: base64 splits as the dictionary
grows, and the one that covers most of it need not be the one that both models share.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from universality.features.descriptions import Described
from universality.features.specificity import specificity
from universality.statistics.calibration import Calibration

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

KNOWS = 0.5
"""Least F1 of a feature that is said to know a kind."""


def concept_table(
    a: "FeatureStore | Described", b: "FeatureStore | Described", calibration: Calibration, min_tokens: int = 1000
) -> pd.DataFrame:
    """The best feature of ``a`` for each kind, beside its partner in ``b``.

    Parameters
    ----------
    a, b
        The stores that were calibrated, in that order.
    calibration
        Their matching.
    min_tokens
        Kinds with fewer tokens in the stores are left out.

    Returns
    -------
    pandas.DataFrame
        A row a kind, most similar first: ``kind tokens feature f1 precision recall partner partner_f1 own_best`` (the
        kind's best feature of ``b``; where it is the partner, both models agree on the concept) and the pair's
        ``score held_out ci_low ci_high q ceiling_a ceiling_b``. A feature without a partner has partner -1 and NaN
        scores. Then ``known_by``, the number of features of ``a`` with F1 of at least ``KNOWS`` for the kind,
        ``most_alike``, the one among them whose pair scores highest where partners are chosen (-1 without any), and
        ``most_alike_held_out``, that pair's r elsewhere.
    """
    in_a, in_b = (side.specificity if isinstance(side, Described) else specificity(side) for side in (a, b))
    pairs = calibration.to_frame().set_index("row")
    code_in_a, code_in_b = ({name: code for code, name in enumerate(side.kinds)} for side in (in_a, in_b))
    rows = []
    for found in in_a.best().itertuples():
        if found.tokens < min_tokens or found.feature < 0:
            continue
        code = code_in_b[found.kind]
        pair = pairs.loc[found.feature] if found.feature in pairs.index else None
        partner = -1 if pair is None else int(pair["col"])
        scores = {
            name: np.nan if pair is None else float(pair[name])
            for name in ("score", "held_out", "ci_low", "ci_high", "q", "ceiling_a", "ceiling_b")
        }
        known = np.flatnonzero(in_a.f1[:, code_in_a[found.kind]] >= KNOWS)
        alike = pairs.reindex(known)["score"].dropna()
        most_alike = int(alike.idxmax()) if len(alike) else -1
        rows.append(
            {
                "kind": found.kind,
                "tokens": found.tokens,
                "feature": found.feature,
                "f1": found.f1,
                "precision": found.precision,
                "recall": found.recall,
                "partner": partner,
                "partner_f1": np.nan if pair is None else float(in_b.f1[partner, code]),
                "own_best": int(in_b.f1[:, code].argmax()),
                **scores,
                "known_by": known.size,
                "most_alike": most_alike,
                "most_alike_held_out": np.nan if most_alike < 0 else float(pairs.loc[most_alike, "held_out"]),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("held_out", ascending=False, ignore_index=True) if len(table) else table
