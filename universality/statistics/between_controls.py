"""Agreement of a study as a position between its controls."""

import numpy as np
import pandas as pd

from universality.errors import MismatchError
from universality.statistics.calibration import THRESHOLDS

MEASURES = ("held_out_median", "nearest_median", *(f"share_{r:g}" for r in THRESHOLDS))


def between(controls: pd.DataFrame) -> pd.DataFrame:
    """Add each control's position between floors (0) and ceilings (1) to a table of controls.

    For each measure the position is (value − highest floor) / (lowest ceiling − highest floor). The *highest* floor and
    the *lowest* ceiling are used so that an easily beaten control cannot make the result look better.

    Parameters
    ----------
    controls
        One row per control: ``control kind`` ("floor", "study" or "ceiling") and ``held_out_median nearest_median
        share_0.5 share_0.7``.

    Returns
    -------
    pandas.DataFrame
        Floors, study, ceilings, each by falling ``held_out_median``, with a column ``*_normalised`` a measure; NaN
        where there is no floor or ceiling, or the ceiling does not lie above the floor.

    Raises
    ------
    MismatchError
        If a column is missing.

    Examples
    --------
    >>> table = pd.DataFrame({"control": ["shuffled", "A-B", "seeds"], "kind": ["floor", "study", "ceiling"]})
    >>> table = table.assign(**{name: [0.1, 0.4, 0.9] for name in MEASURES})
    >>> between(table)["held_out_median_normalised"].round(3).tolist()
    [0.0, 0.375, 1.0]
    """
    missing = {"control", "kind", *MEASURES} - set(controls.columns)
    if missing:
        raise MismatchError(f"a table of controls needs the columns {sorted(missing)}; it has {list(controls.columns)}")
    table = controls.copy()
    for name in MEASURES:
        floors, ceilings = (table.loc[table["kind"] == kind, name].dropna() for kind in ("floor", "ceiling"))
        low, high = floors.max() if len(floors) else np.nan, ceilings.min() if len(ceilings) else np.nan
        table[f"{name}_normalised"] = (table[name] - low) / (high - low) if high > low else np.nan
    section = table["kind"].map({"floor": 0, "study": 1, "ceiling": 2})
    order = np.lexsort((-table["held_out_median"].fillna(-np.inf), section))
    return table.iloc[order].reset_index(drop=True)
