"""How far to trust a matching: held-out scores, nulls, p-values and intervals."""

from universality.statistics.best_neuron import best_neurons
from universality.statistics.bootstrap import bootstrap_intervals
from universality.statistics.calibrate import calibrate
from universality.statistics.calibration import Calibration
from universality.statistics.concepts import concept_table
from universality.statistics.heldout import evaluation_halves, held_out_scores
from universality.statistics.null import Null, Repairing, plan_repairing, repaired_rows

__all__ = [
    "Calibration",
    "Null",
    "Repairing",
    "best_neurons",
    "bootstrap_intervals",
    "calibrate",
    "concept_table",
    "evaluation_halves",
    "held_out_scores",
    "plan_repairing",
    "repaired_rows",
]
