"""Partners of features, found from any `Similarity`."""

from universality.matching.multimodel import Groups, match_many
from universality.matching.nearest_partners import Nearest
from universality.matching.pairing import Match, Method, match

__all__ = ["Groups", "Match", "Method", "Nearest", "match", "match_many"]
