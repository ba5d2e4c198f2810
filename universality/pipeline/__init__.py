"""A whole experiment: its stages in order, and the folder that it leaves."""

from universality.pipeline.paths import RunFolder
from universality.pipeline.runner import STAGES, run

__all__ = ["STAGES", "RunFolder", "run"]
