"""Tokens that the two features of a pair raise and lower where both fire, their agreement, and the file for both.

Both features are set to another value at the same tokens, one at a time, in two ways: ablated, and clamped to a
multiple of their maximum. `universality.effects.comparing_pairs` measures it. This module needs NumPy and pandas only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from universality.archive import read_archive, write_archive
from universality.arrays import FloatArray, IntArray
from universality.effects.fingerprints import WEIGHTINGS
from universality.errors import FormatError, MismatchError

if TYPE_CHECKING:
    import pandas as pd

FORMAT, VERSION = "universality.pair_effects", 1
INTERVENTIONS = ("ablated", "clamped")
DIRECTIONS = ("raised", "lowered")
N_TOKENS = 8
"""Tokens that are kept of each direction."""


@dataclass(frozen=True, eq=False)
class PairEffects:
    """Effects of pairs of features on the next token, at tokens where both fire.

    Axes named *intervention*, *direction* and *weighting* are in the order of ``INTERVENTIONS``, ``DIRECTIONS`` and
    `universality.effects.fingerprints.WEIGHTINGS`.

    Parameters
    ----------
    rows, cols
        int64 [n_pairs], features of A and of B.
    n_contexts
        int64 [n_pairs], tokens at which both were changed; pairs with 0 have no numbers.
    r
        float64 [n_pairs, intervention, weighting], Pearson's r of the mean changes of log-probabilities; NaN without
        contexts, and where a feature changes nothing.
    controls
        int64 [n_pairs], a feature of B other than the partner that fires at these tokens, too
        (`universality.effects.contexts.firing_alike`); -1 for none.
    control_share
        float64 [n_pairs], share of the tokens at which the control fires.
    control_r
        As ``r``, between A's feature and the control, changed at the same tokens.
    tokens
        int32 [2, n_pairs, intervention, direction, n], entries of A's and of B's vocabulary whose probabilities change
        most, the most first; -1 where there are fewer.
    changes
        float32, as ``tokens``: mean changes of their probabilities; 0 for none.
    times
        Multiple of its maximum to which a feature is clamped.
    provenance
        Record of models, SAEs, text and settings, as JSON.

    Raises
    ------
    MismatchError
        If shapes disagree.
    """

    rows: IntArray
    cols: IntArray
    n_contexts: IntArray
    r: FloatArray
    controls: IntArray
    control_share: FloatArray
    control_r: FloatArray
    tokens: NDArray[np.int32]
    changes: NDArray[np.float32]
    times: float
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, n_shown = len(self.rows), self.tokens.shape[-1] if self.tokens.ndim else 0
        lists = (2, n, len(INTERVENTIONS), len(DIRECTIONS), n_shown)
        shapes = {
            **dict.fromkeys(("rows", "cols", "n_contexts", "controls", "control_share"), (n,)),
            **dict.fromkeys(("r", "control_r"), (n, len(INTERVENTIONS), len(WEIGHTINGS))),
            **dict.fromkeys(("tokens", "changes"), lists),
        }
        for name, shape in shapes.items():
            if (found := getattr(self, name).shape) != shape:
                raise MismatchError(f"pair effects: expected {name} {list(shape)}, found {list(found)}")

    def __len__(self) -> int:
        return len(self.rows)

    def chance(self, quantile: float = 0.95) -> FloatArray:
        """Quantile of the controls' r over all pairs, float64 [intervention, weighting]; NaN without controls."""
        known = np.isfinite(self.control_r)
        if not known.any():
            return np.full(self.control_r.shape[1:], np.nan)
        return np.asarray(np.nanquantile(self.control_r, quantile, axis=0), np.float64)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per pair.

        - ``row col n``: the features, and the number of tokens at which they were changed.
        - ``INTERVENTION_r_WEIGHTING`` and ``INTERVENTION_control_r_WEIGHTING``, such as ``ablated_r_equal``: r of the
          partners, and of A's feature and the control.
        - ``control control_share``: the control, and the share of the tokens at which it fires.
        """
        import pandas as pd

        columns: dict[str, Any] = {"row": self.rows, "col": self.cols, "n": self.n_contexts}
        for i, how in enumerate(INTERVENTIONS):
            for w, weighting in enumerate(WEIGHTINGS):
                columns[f"{how}_r_{weighting}"] = self.r[:, i, w]
                columns[f"{how}_control_r_{weighting}"] = self.control_r[:, i, w]
        return pd.DataFrame(columns | {"control": self.controls, "control_share": self.control_share})

    def save(self, path: str | Path) -> Path:
        """Write an .npz (or .json) file atomically; return the path."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return write_archive(path, FORMAT, VERSION, {"times": self.times, "provenance": self.provenance}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> PairEffects:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is damaged, of another format or version, or contradicts itself.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        try:
            named = {name: arrays[name] for name in _ARRAYS}
            return cls(**named, times=float(header["times"]), provenance=dict(header["provenance"]))
        except (KeyError, TypeError, ValueError, MismatchError) as error:
            raise FormatError(f"{path}: not a whole {FORMAT} file: {error}") from None


_ARRAYS = ("rows", "cols", "n_contexts", "r", "controls", "control_share", "control_r", "tokens", "changes")
