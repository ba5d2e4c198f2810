"""Where a study's agreement lies between its controls."""

import numpy as np
import pandas as pd

from universality.errors import MismatchError
from universality.statistics.calibration import THRESHOLDS

MEASURES = ("held_out_median", "nearest_median", *(f"share_{r:g}" for r in THRESHOLDS))


def between(controls: pd.DataFrame) -> pd.DataFrame:
    """Add to a table of controls how far each lies on the way from the floors to the ceilings.

    For each measure, 0 is the *highest* floor and 1 the *lowest* ceiling, so that a study is not flattered by a control
    that is easy to beat: (value − highest floor) / (lowest ceiling − highest floor).

    Parameters
    ----------
    controls
        A row a control: ``control kind`` ("floor", "study" or "ceiling") and ``held_out_median
        nearest_median share_0.5 share_0.7``.

    Returns
    -------
    pandas.DataFrame
        Floors, study, ceilings, each by falling ``held_out_median``, with a column ``*_normalised`` a measure; NaN
        where there is no floor or ceiling, or the ceiling does not lie above the floor.

    Raises
    ------
    MismatchError
        If a column is missing.
    """
    missing = {"control", "kind", *MEASURES} - set(controls.columns)
    if missing:
        raise MismatchError(f"a table of controls needs the columns {sorted(missing)}; it has {list(controls.columns)}")
    table = controls.copy()
    for name in MEASURES:
        floors, ceilings = (table.loc[table["kind"] == kind, name].dropna() for kind in ("floor", "ceiling"))
        low, high = floors.max() if len(floors) else np.nan, ceilings.min() if len(ceilings) else np.nan
        table[f"{name}_normalised"] = (table[name] - low) / (high - low) if high > low else np.nan
    place = table["kind"].map({"floor": 0, "study": 1, "ceiling": 2})
    order = np.lexsort((-table["held_out_median"].fillna(-np.inf), place))
    return table.iloc[order].reset_index(drop=True)
