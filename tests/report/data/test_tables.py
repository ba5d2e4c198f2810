"""Rows of tables."""

import numpy as np

from universality.report import FamilyLevel, SaeQuality


def test_family_level_takes_what_a_summary_has_and_ignores_the_rest() -> None:
    level = {"width": 1024, "eligible": 900, "novel_share": 0.25, "split": None, "other": 3}
    assert FamilyLevel.from_summary(level) == FamilyLevel(1024, 900, novel_share=0.25)


def test_dead_share() -> None:
    assert SaeQuality("A", 512, 0, 384).dead_share == 0.25
    assert np.isnan(SaeQuality("A", 0, 0, 0).dead_share)
