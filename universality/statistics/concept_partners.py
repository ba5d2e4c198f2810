"""Best feature of each kind of text, its partner in the other model, and their similarity.

The best feature is selected by the kinds' labels alone (F1 of firing mass and of firing), never by a similarity, so its
partner's score is not selected for being high. A kind may have several features: base64 splits as the dictionary grows,
and the feature that covers most of it need not be the one that both models share.
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
"""Minimum F1 of a feature that counts as a feature of a kind."""


def concept_table(
    a: "FeatureStore | Described", b: "FeatureStore | Described", calibration: Calibration, min_tokens: int = 1000
) -> pd.DataFrame:
    """Tabulate the best feature of ``a`` for each kind of text beside its partner in ``b``.

    Parameters
    ----------
    a, b
        The stores that were calibrated, in that order.
    calibration
        Calibrated match of the two stores.
    min_tokens
        Kinds with fewer tokens in the stores are left out.

    Returns
    -------
    pandas.DataFrame
        One row per kind, most similar first:

        - ``kind tokens feature f1 precision recall partner partner_f1``; partner -1 for a feature without one;
        - ``own_best``, the kind's best feature of ``b``: if it is the partner, both models agree on the concept;
        - ``score held_out ci_low ci_high q ceiling_a ceiling_b`` of the pair, NaN without a partner;
        - ``known_by``, the number of features of ``a`` whose F1 for the kind is at least ``KNOWS``; ``most_alike``, the
          one among them whose pair scores highest on the choosing half (-1 if there is none); and
          ``most_alike_held_out``, that pair's held-out r.
    """
    in_a, in_b = (side.specificity if isinstance(side, Described) else specificity(side) for side in (a, b))
    pairs = calibration.to_frame().set_index("row")
    code_in_a, code_in_b = ({name: code for code, name in enumerate(side.kinds)} for side in (in_a, in_b))
    rows = []
    for best in in_a.best().itertuples():
        if best.tokens < min_tokens or best.feature < 0:
            continue
        code = code_in_b[best.kind]
        pair = pairs.loc[best.feature] if best.feature in pairs.index else None
        partner = -1 if pair is None else int(pair["col"])
        scores = {
            name: np.nan if pair is None else float(pair[name])
            for name in ("score", "held_out", "ci_low", "ci_high", "q", "ceiling_a", "ceiling_b")
        }
        of_kind = np.flatnonzero(in_a.f1[:, code_in_a[best.kind]] >= KNOWS)
        scored = pairs.reindex(of_kind)["score"].dropna()
        most_alike = int(scored.idxmax()) if len(scored) else -1
        rows.append(
            {
                "kind": best.kind,
                "tokens": best.tokens,
                "feature": best.feature,
                "f1": best.f1,
                "precision": best.precision,
                "recall": best.recall,
                "partner": partner,
                "partner_f1": np.nan if pair is None else float(in_b.f1[partner, code]),
                "own_best": int(in_b.f1[:, code].argmax()),
                **scores,
                "known_by": of_kind.size,
                "most_alike": most_alike,
                "most_alike_held_out": np.nan if most_alike < 0 else float(pairs.loc[most_alike, "held_out"]),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("held_out", ascending=False, ignore_index=True) if len(table) else table
