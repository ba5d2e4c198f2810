"""Who is whose partner, from any `Similarity`."""

from universality.matching.match import Match, Method, match
from universality.matching.nearest import Nearest

__all__ = ["Match", "Method", "Nearest", "match"]
