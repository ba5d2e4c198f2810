"""Advice on each note of a calibration: the setting to change, or how to read the number."""

import re

from universality.report.data import Caution

_ADVICE: tuple[tuple[str, str, bool], ...] = (
    (r"^no intervals: .* keeps no statistics by group", "Read the numbers without intervals.", False),
    (r"^intervals rest on", "Raise statistics.bootstrap.", True),
    (r"^the reporting half holds", "Evaluate on more works: raise corpus.held_out, or add works.", True),
    (r"^no p-values", "Give more or longer documents, or a smaller corpus.n_ctx.", True),
    (r"^only .* of the tokens lie in blocks", "Lower corpus.n_ctx.", True),
    (r"^no pair can reach q", "Raise statistics.replicates.", True),
    (
        r"fires fewer than",
        "Read their r without a p-value. More text, or a lower statistics.min_firings, would give them one.",
        False,
    ),
    (
        r"one (group|work) holds",
        "Read q within kinds as a statement about the other kinds. Further works of these kinds would include them.",
        False,
    ),
    (r"^kinds of few groups", "Read the intervals of these kinds as rough.", False),
)
_OTHERWISE = "`universality info RUN` shows the numbers that it concerns; read them with it in mind."


def caution_of(note: str) -> Caution:
    """Make a caution of a note: a sentence, with advice by what the note is about.

    Examples
    --------
    >>> caution_of("intervals rest on 20 resamples").advice
    'Raise statistics.bootstrap.'
    """
    sentence = f"{note[:1].upper()}{note[1:]}{'' if note.endswith('.') else '.'}"
    for pattern, advice, in_settings in _ADVICE:
        if re.search(pattern, note):
            return Caution(sentence, advice, in_settings)
    return Caution(sentence, _OTHERWISE, in_settings=False)
