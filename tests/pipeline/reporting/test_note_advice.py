"""Every note of a calibration comes with advice that fits it."""

import pytest

from universality.pipeline.reporting.note_advice import caution_of


@pytest.mark.parametrize(
    ("note", "advice", "in_settings"),
    [
        ("25 pairs with a feature that fires fewer than 10 times on the blocks: no p-value", "min_firings", False),
        ("kind dna: one group holds 9 of 10 single blocks; none can meet another group", "works of these kinds", False),
        ("no pair can reach q <= 0.05 under the kind null: with its few scores p is at least 0.1", "replicates", True),
        ("only 12% of the tokens lie in blocks of 64 that the kind null can re-pair", "corpus.n_ctx", True),
        ("a note of a later version", "universality info", False),
    ],
)
def test_advice_fits_the_note(note: str, advice: str, in_settings: bool) -> None:
    caution = caution_of(note)
    assert caution.text == f"{note[0].upper()}{note[1:]}."
    assert advice in caution.advice
    assert caution.in_settings is in_settings
