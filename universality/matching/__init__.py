"""Partners of features, found from any `Similarity`."""

from universality.matching.common_start import IndexAgreement, index_agreement
from universality.matching.multimodel import Groups, match_many
from universality.matching.nearest_partners import Nearest
from universality.matching.pairing import Match, Method, match

__all__ = [
    "Groups",
    "IndexAgreement",
    "Match",
    "Method",
    "Nearest",
    "index_agreement",
    "match",
    "match_many",
]
