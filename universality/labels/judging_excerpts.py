"""Prompts for detection and fuzzing: an explanation, numbered excerpts, and the question of yes or no for each.

Detection asks whether the feature fires anywhere in an excerpt, fuzzing whether the marked tokens are those on which it
fires (Paulo et al. 2024, *Automatically Interpreting Millions of Features in Large Language Models*, and EleutherAI's
delphi). Here a wrongly marked excerpt is one in which the feature fires too, with as many tokens marked on which it is
silent; no excerpt is shown twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from universality.arrays import BoolArray, IntArray
from universality.labels.chat import Prompt
from universality.labels.demonstrations import DEMONSTRATIONS, Demonstration
from universality.labels.excerpt_text import CLOSE, OPEN, conversation
from universality.labels.feature_examples import FeatureExamples
from universality.labels.label_settings import LabelSettings

_FORMAT = """\
Answer with one line an excerpt: its number, a colon, and yes or no. Write nothing else."""
_DETECTION = f"""\
You judge which texts activate a feature of a language model. You see an explanation of what the feature responds to, \
and numbered excerpts of text. For each excerpt, say whether anything in it is what the feature responds to.

{_FORMAT}"""
_FUZZING = f"""\
You judge on which tokens a feature of a language model fires. You see an explanation of what the feature responds to, \
and numbered excerpts of text in which some tokens are marked {OPEN}like this{CLOSE}. For each excerpt, say whether \
the marked tokens are those to which the feature responds.

{_FORMAT}"""
_MARKED_TOKEN = f"""\
You judge an explanation of a feature of a language model. You see what the feature is said to respond to, and \
numbered excerpts of text in each of which one token is marked {OPEN}like this{CLOSE}. For each excerpt, say whether \
what the explanation describes is there at the marked token.

{_FORMAT}"""
_TOKENS_A_VERDICT = 8


def detection_prompt(explanation: str, lines: Sequence[str]) -> Prompt:
    """Build the prompt that asks which excerpts activate the feature."""
    return _prompt(_DETECTION, _DETECTION_TURNS, explanation, lines)


def fuzzing_prompt(explanation: str, lines: Sequence[str]) -> Prompt:
    """Build the prompt that asks which excerpts are marked where the feature fires."""
    return _prompt(_FUZZING, _FUZZING_TURNS, explanation, lines)


def marked_token_prompt(explanation: str, lines: Sequence[str]) -> Prompt:
    """Build the prompt that asks in which excerpts the explanation holds at the marked token."""
    return _prompt(_MARKED_TOKEN, _FUZZING_TURNS, explanation, lines)


def fuzzing_marks(examples: FeatureExamples, settings: LabelSettings) -> tuple[IntArray, BoolArray, BoolArray]:
    """Mark tokens of the scored excerpts in which the feature fires, half of the excerpts wrongly.

    Returns
    -------
    excerpt : int64 [n]
        Indices of the excerpts.
    marks : bool [n, width]
        Marked tokens.
    right : bool [n]
        Whether the marked tokens are those on which the feature fires. An excerpt without a silent token is marked
        rightly.
    """
    rng = np.random.default_rng([settings.seed, examples.feature, 3])
    excerpts = examples.score
    chosen = rng.permutation(np.flatnonzero(excerpts.active))
    fires, silent = excerpts.fires[chosen], (excerpts.exists & ~excerpts.fires)[chosen]
    right = (np.arange(len(chosen)) % 2 == 0) | ~silent.any(axis=1)
    marks = fires.copy()
    for i in np.flatnonzero(~right).tolist():
        places = np.flatnonzero(silent[i])
        marks[i] = False
        marks[i, rng.permutation(places)[: int(fires[i].sum())]] = True
    return chosen, marks, right


def _prompt(instructions: str, turns: Sequence[tuple[str, str]], explanation: str, lines: Sequence[str]) -> Prompt:
    return Prompt(conversation(instructions, turns, _question(explanation, lines)), 20 + _TOKENS_A_VERDICT * len(lines))


def _question(explanation: str, lines: Sequence[str]) -> str:
    numbered = "\n".join(f"{k}: {line}" for k, line in enumerate(lines, 1))
    return f"The feature responds to: {explanation}\n\n{numbered}"


def _answer(verdicts: Sequence[bool]) -> str:
    return "\n".join(f"{k}: {'yes' if verdict else 'no'}" for k, verdict in enumerate(verdicts, 1))


def _detection_turn(shown: Demonstration) -> tuple[str, str]:
    return _question(shown.explanation, shown.lines()), _answer(shown.active().tolist())


def _fuzzing_turn(shown: Demonstration) -> tuple[str, str]:
    lines, right = zip(*shown.marked(), strict=True)
    return _question(shown.explanation, lines), _answer(right)


_DETECTION_TURNS = tuple(_detection_turn(shown) for shown in DEMONSTRATIONS)
_FUZZING_TURNS = tuple(_fuzzing_turn(shown) for shown in DEMONSTRATIONS)
