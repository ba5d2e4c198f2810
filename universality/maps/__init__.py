"""Maps: features as points in the plane, near each other where they are alike, in one model or in two.

The modules import umap-learn and hdbscan inside their functions, so that other packages can import the results' classes
without them.
"""

from universality.maps.cross_edges import CrossEdges
from universality.maps.faithfulness import PartnerRanks, Trust
from universality.maps.neighbours import Neighbours
from universality.maps.one_model import FeatureMap, feature_map
from universality.maps.point_clusters import clusters, name_clusters
from universality.maps.two_models import JointMap, joint_map

__all__ = [
    "CrossEdges",
    "FeatureMap",
    "JointMap",
    "Neighbours",
    "PartnerRanks",
    "Trust",
    "clusters",
    "feature_map",
    "joint_map",
    "name_clusters",
]
