"""Worked examples that prompts begin with, written for this package on text as in the shipped corpus.

Each demonstration is a feature that anyone can check: the word "not" in political prose, ``self`` after an opening
bracket in Python, and base64. Tokens are those of the shipped tokenizer, activations are 0 to 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from universality.arrays import BoolArray
from universality.labels.excerpt_text import CLOSE, OPEN
from universality.visible_tokens import visible


@dataclass(frozen=True)
class Demonstration:
    """A feature with its explanation and some excerpts.

    Parameters
    ----------
    explanation
        The explanation.
    excerpts
        Tokens and activations of each excerpt.
    mark
        Token of each excerpt that fuzzing marks; -1 for excerpts that it leaves out.
    """

    explanation: str
    excerpts: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]
    mark: tuple[int, ...]

    def columns(self) -> list[str]:
        """Return the excerpts as lines of token, tab and activation."""
        return [
            "\n".join(f"{visible(token, alone=False)}\t{value}" for token, value in zip(tokens, values, strict=True))
            for tokens, values in self.excerpts
        ]

    def lines(self) -> list[str]:
        """Return the excerpts as text."""
        return ["".join(visible(token, alone=False) for token in tokens) for tokens, _ in self.excerpts]

    def active(self) -> BoolArray:
        """Flag the excerpts in which the feature fires."""
        return np.array([max(values) > 0 for _, values in self.excerpts])

    def marked(self) -> list[tuple[str, bool]]:
        """Return excerpts with one token marked, and whether it is one on which the feature fires."""
        shown = []
        for (tokens, values), mark in zip(self.excerpts, self.mark, strict=True):
            if mark >= 0:
                strings = [visible(token, alone=False) for token in tokens]
                strings[mark] = f"{OPEN}{strings[mark]}{CLOSE}"
                shown.append(("".join(strings), values[mark] > 0))
        return shown


NEGATION = Demonstration(
    'the word "not", above all after an auxiliary verb',
    (
        ((" legisl", "ative", " aid", " the", " Executive", " can", " not", " ob", "v"), (0, 0, 0, 0, 0, 0, 9, 0, 0)),
        ((" these", " challen", "ges", ",", " we", " must", " never", " give", " in"), (0,) * 9),
        ((" the", " Government", ",", " ind", "ic", "ating", " not", " only", " an"), (0, 0, 0, 0, 0, 0, 5, 0, 0)),
        ((" to", " un", "ify", " the", " control", " of", " ship", "bu", "ild"), (0,) * 9),
        ((" without", " sl", "a", "very", " it", " could", " not", " continue", "."), (0, 0, 0, 0, 0, 0, 8, 0, 0)),
    ),
    (6, -1, 3, -1, 6),
)
SELF = Demonstration(
    'the Python name "self" directly after an opening bracket',
    (
        ((" @", "property", "\n   ", " def", " session", "(", "self", "):", "\n       "), (0, 0, 0, 0, 0, 0, 9, 0, 0)),
        ((" c", "ert", "file", ":", "\n       ", " raise", " ValueError", '("', "c"), (0,) * 9),
        ((" 0", "\n\n   ", " def", " __", "repr", "__(", "self", "):", "\n       "), (0, 0, 0, 0, 0, 0, 7, 0, 0)),
        (("ands", "[", "name", "]", " =", " (", "self", ".", "state"), (0, 0, 0, 0, 0, 0, 4, 0, 0)),
        ((" could", " not", " continue", ".", " He", " him", "self", " was", " there"), (0,) * 9),
    ),
    (6, -1, 4, 6, -1),
)
BASE64 = Demonstration(
    "base64-encoded data",
    (
        (("I", "b", "IN", "Ex", "8", "6", "P", "3", "ak"), (4, 5, 7, 6, 8, 8, 9, 7, 8)),
        (("AT", "AA", "AG", "AG", "TC", "G", "AAT", "G", "ATG"), (0,) * 9),
        (("j", "D", "45", "z", "m", "R", "n", "+", "Q"), (5, 6, 8, 7, 7, 9, 8, 6, 8)),
        ((" It", " is", " preced", "ed", " by", " a", " note", ",", " and"), (0,) * 9),
    ),
    (6, 2, -1, -1),
)
DEMONSTRATIONS = (NEGATION, SELF, BASE64)
