"""Columns of tables and graphs that state whether the partners of a pair do the same."""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from universality.statistics import EffectAgreement

EFFECT_COLUMNS = {
    "n": "effect_n",
    "r_per_norm": "effect_r",
    "ci_low": "effect_ci_low",
    "ci_high": "effect_ci_high",
    "null_r": "effect_null_r",
    "q": "effect_q",
    "q_opposite": "effect_q_opposite",
    "sign_agreement": "effect_sign_agreement",
    "sign_chance": "effect_sign_chance",
    "control_r": "effect_control_r",
    "control_rank": "effect_control_rank",
    "n_controls": "effect_n_controls",
    "ceiling_a": "effect_ceiling_a",
    "ceiling_b": "effect_ceiling_b",
}
"""Column of `EffectAgreement.to_frame` → its name in tables of pairs; ``effect_r`` is r per norm of the gradient."""
PREFIXES = ("effect_", "fingerprint_")
"""Beginnings of the names of all of these columns."""


def effect_columns(agreement: "EffectAgreement", of: Collection[str] = EFFECT_COLUMNS) -> "pd.DataFrame":
    """Tabulate the effects of pairs under the names that they have in tables and graphs.

    Parameters
    ----------
    agreement
        Result of `universality.statistics.compare_effects`.
    of
        Keys of ``EFFECT_COLUMNS`` that are wanted; all by default.

    Returns
    -------
    pandas.DataFrame
        Columns ``row col``, those of ``EFFECT_COLUMNS`` that were measured, and ``fingerprint_NAME_r`` for each
        fingerprint.
    """
    frame = agreement.to_frame()
    names = {f"{name}_r": f"fingerprint_{name}_r" for name in agreement.settings["fingerprints"]}
    wanted = {old: new for old, new in EFFECT_COLUMNS.items() if old in of}
    present = {old: new for old, new in (wanted | names).items() if old in frame}
    return frame[["row", "col", *present]].rename(columns=present)
