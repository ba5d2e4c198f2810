"""Who is whose partner, from any `Similarity`."""

from universality.matching.groups import Groups, match_many
from universality.matching.match import Match, Method, match
from universality.matching.nearest import Nearest

__all__ = ["Groups", "Match", "Method", "Nearest", "match", "match_many"]
