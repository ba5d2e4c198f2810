"""Figures of a study: each module draws one type of figure from tables or arrays, and writes its caption.

Functions return a matplotlib ``Figure``, do not change pyplot's state, and need no screen.
"""

from universality.extras import naming_extra

with naming_extra("a figure"):
    import matplotlib.figure  # noqa: F401 - every module below needs it

from universality.plot.tree_layout import choose_family
from universality.report.figures.concepts import concept_dots, describe_concepts
from universality.report.figures.consistency import consistency_by_frequency, describe_consistency
from universality.report.figures.coverage import describe_coverage, quality_against_coverage
from universality.report.figures.crosscoder_norms import describe_relative_norms, relative_norms
from universality.report.figures.densities import describe_densities, feature_densities
from universality.report.figures.distributions import best_match_distribution, describe_distribution
from universality.report.figures.heatmap import (
    MatchedMatrix,
    clustered_heatmap,
    describe_clustered,
    describe_heatmap,
    matched_heatmap,
    spaced,
)
from universality.report.figures.icicle import describe_icicle, family_icicle
from universality.report.figures.saving import FORMATS, picture, save_figure, save_for_print, save_picture
from universality.report.figures.scatter import (
    activation_against_logit,
    chosen_against_held_out,
    describe_held_out,
    describe_logit,
)
from universality.report.figures.similarity_strata import describe_strata, similarity_by_firings
from universality.report.figures.splitting import describe_splitting, splitting_factors
from universality.report.figures.training import describe_training, training_curves
from universality.report.figures.tree_drawing import describe_family, family_tree

__all__ = [
    "FORMATS",
    "MatchedMatrix",
    "activation_against_logit",
    "best_match_distribution",
    "choose_family",
    "chosen_against_held_out",
    "clustered_heatmap",
    "concept_dots",
    "consistency_by_frequency",
    "describe_clustered",
    "describe_concepts",
    "describe_consistency",
    "describe_coverage",
    "describe_densities",
    "describe_distribution",
    "describe_family",
    "describe_heatmap",
    "describe_held_out",
    "describe_icicle",
    "describe_logit",
    "describe_relative_norms",
    "describe_splitting",
    "describe_strata",
    "describe_training",
    "family_icicle",
    "family_tree",
    "feature_densities",
    "matched_heatmap",
    "picture",
    "quality_against_coverage",
    "relative_norms",
    "save_figure",
    "save_for_print",
    "save_picture",
    "similarity_by_firings",
    "spaced",
    "splitting_factors",
    "training_curves",
]
