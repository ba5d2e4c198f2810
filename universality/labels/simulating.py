"""Prompts that ask for a feature's activations given its explanation alone, and the activations in the answers.

Bills et al. 2023, *Language models can explain neurons in language models*; here several excerpts share a prompt, and
predictions are read as text, so that any model can be asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np

from universality.arrays import FloatArray
from universality.labels.chat import Prompt
from universality.labels.demonstrations import NEGATION, SELF, Demonstration
from universality.labels.excerpt_text import conversation, estimated_tokens

_INSTRUCTIONS = """\
You predict a feature of a language model. A feature is a number that the model computes for each token of a text: 0 \
where it is silent, and up to 9 where it fires most strongly. Most features are silent on most tokens.

You see an explanation of what the feature responds to, and excerpts of text, one token a line. Repeat every line, \
with a tab and the activation that you predict, a whole number from 0 to 9, in place of the question mark. Repeat the \
headings of the excerpts too. Write nothing else."""
_HEADING = re.compile(r"^\W*(?:excerpt|example)\s*#?(\d{1,4})\W*$", re.IGNORECASE)
_WITHOUT_TAB = re.compile(r"^(.*?)\s*(?:\s|:|=|\||->|→|\\t)\s*(\d\S*)$")
_LEVEL = re.compile(r"([0-9])(?:\.0+)?")


def simulation_prompt(explanation: str, excerpts: Sequence[Sequence[str]]) -> Prompt:
    """Build the prompt that asks for the activations on some excerpts.

    Parameters
    ----------
    explanation
        What the feature responds to.
    excerpts
        Visible strings of the tokens of each excerpt.
    """
    question = _question(explanation, excerpts)
    answer = _sections(["\n".join(f"{string}\t0" for string in strings) for strings in excerpts])
    return Prompt(conversation(_INSTRUCTIONS, _TURNS, question), 50 + estimated_tokens(answer) * 5 // 4)


def read_simulation(text: str, excerpts: Sequence[Sequence[str]]) -> list[FloatArray]:
    """Read the predicted activations of each excerpt; NaN for each token without one.

    Lines are matched to tokens by the token that they repeat, within the excerpt whose heading they follow; without
    headings, over all excerpts in order. Lines that repeat no token are skipped. A value that is no whole number from 0
    to 9 is no prediction.

    Parameters
    ----------
    text
        The answer.
    excerpts
        Visible strings of the tokens of each excerpt that the prompt showed.

    Returns
    -------
    list of float64 [n_tokens]

    Examples
    --------
    >>> read_simulation("Excerpt 1:\\n the\\t0\\n cat\\t9\\n sat\\t?", [[" the", " cat", " sat"]])
    [array([ 0.,  9., nan])]
    """
    sections = _by_heading(text)
    if not sections.keys() & set(range(1, len(excerpts) + 1)):
        joined = _aligned([string for strings in excerpts for string in strings], sections.get(0, []))
        return np.split(joined, np.cumsum([len(strings) for strings in excerpts])[:-1])
    return [_aligned(strings, sections.get(k, [])) for k, strings in enumerate(excerpts, 1)]


def _by_heading(text: str) -> dict[int, list[tuple[str, float]]]:
    """Lines of (token, prediction or NaN) by the number of the heading before them; 0 before any."""
    sections: dict[int, list[tuple[str, float]]] = {}
    current = 0
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading:
            current = int(heading[1])
        elif not line.startswith("```"):
            sections.setdefault(current, []).append(_line(line))
    return sections


def _line(line: str) -> tuple[str, float]:
    if "\t" in line:
        token, value = line.rsplit("\t", 1)
    else:
        parts = _WITHOUT_TAB.match(line)
        token, value = (parts[1], parts[2]) if parts else (line, "")
    level = _LEVEL.fullmatch(value.strip().strip("*`"))
    return token.strip(), float(level[1]) if level else float("nan")


def _aligned(strings: Sequence[str], lines: Sequence[tuple[str, float]]) -> FloatArray:
    """Give each token the prediction of the line that repeats it, in order."""
    predicted = np.full(len(strings), np.nan)
    wanted, given = [string.strip() for string in strings], [token for token, _ in lines]
    for block in SequenceMatcher(None, wanted, given, autojunk=False).get_matching_blocks():
        for i in range(block.size):
            predicted[block.a + i] = lines[block.b + i][1]
    return predicted


def _question(explanation: str, excerpts: Sequence[Sequence[str]]) -> str:
    columns = ["\n".join(f"{string}\t?" for string in strings) for strings in excerpts]
    return f"The feature responds to: {explanation}\n\n{_sections(columns)}"


def _sections(columns: Sequence[str]) -> str:
    return "\n\n".join(f"Excerpt {k}:\n{column}" for k, column in enumerate(columns, 1))


def _turn(shown: Demonstration) -> tuple[str, str]:
    columns = shown.columns()
    strings = [[line.rpartition("\t")[0] for line in column.split("\n")] for column in columns]
    return _question(shown.explanation, strings), _sections(columns)


_TURNS = (_turn(NEGATION), _turn(SELF))
