"""For each kind of text the feature that knows it best, its partner in the other model, and how alike they are.

Which feature that is, is decided by the kinds' labels alone (F1 of firing mass and of firing), never by a similarity,
so its partner's score is not chosen for being high.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from universality.features.specificity import specificity
from universality.statistics.calibration import Calibration

if TYPE_CHECKING:
    from universality.features.store import FeatureStore


def concept_table(
    a: "FeatureStore", b: "FeatureStore", calibration: Calibration, min_tokens: int = 1000
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
        ``score held_out ci_low ci_high q``. A feature without a partner has partner -1 and NaN scores.
    """
    in_a, in_b = specificity(a), specificity(b)
    pairs = calibration.to_frame().set_index("row")
    code_in_b = {name: code for code, name in enumerate(in_b.kinds)}
    rows = []
    for found in in_a.best().itertuples():
        if found.tokens < min_tokens or found.feature < 0:
            continue
        code = code_in_b[found.kind]
        pair = pairs.loc[found.feature] if found.feature in pairs.index else None
        partner = -1 if pair is None else int(pair["col"])
        scores = {
            name: np.nan if pair is None else float(pair[name])
            for name in ("score", "held_out", "ci_low", "ci_high", "q")
        }
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
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("held_out", ascending=False, ignore_index=True) if len(table) else table
