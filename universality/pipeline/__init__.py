"""A whole experiment: its stages in order, and the folder that it leaves."""

from universality.pipeline.layout import RunFolder
from universality.pipeline.run import STAGES, run

__all__ = ["STAGES", "RunFolder", "run"]
