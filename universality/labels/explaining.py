"""Prompts that ask what a feature responds to, and the explanations in the answers.

The explainer sees excerpts from one half of the documents, each token with the feature's activation from 0 to 9
relative to its strongest activation in that half.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from universality.labels.answer_text import declines
from universality.labels.chat import Answer, Prompt
from universality.labels.demonstrations import DEMONSTRATIONS, Demonstration
from universality.labels.excerpt_text import TokenText, conversation
from universality.labels.feature_examples import INTERVAL, OTHER, RANDOM, TOP, FeatureExamples, quantised
from universality.labels.label_settings import LabelSettings

_INSTRUCTIONS = """\
You study one feature of a language model. A feature is a number that the model computes for each token of a text: 0 \
where it is silent, and up to 9 where it fires most strongly.

You see excerpts of text, one token a line: the token, a tab, and the feature's activation on it. Find what the tokens \
with high activations have in common, in themselves or in the text before them, and what sets them apart from the \
tokens on which the feature is silent.

Answer with one short phrase on one line: what the feature responds to. No introduction, no list of examples."""
_HEADINGS = {
    TOP: "Excerpts in which it fires most strongly",
    INTERVAL: "Excerpts in which it fires, from strong to weak",
    OTHER: "Excerpts with the same tokens in which it is silent",
    RANDOM: "Random excerpts",
}
_ASK = "The feature responds to:"
_INTRODUCTION = re.compile(
    r"^(?:(?:the|this) (?:feature|neuron|latent)(?: (?:mostly|mainly|primarily))? "
    r"(?:responds to|fires on|activates on|detects|is active on)|explanation|answer)\s*:?\s*",
    re.IGNORECASE,
)
_LONGEST = 1000  # characters of an explanation
_BULLET = re.compile(r"^(?:[-*•>#]+|\d+[.)])\s+")


def explanation_prompts(
    examples: Iterable[FeatureExamples], text: TokenText, settings: LabelSettings
) -> Iterator[tuple[int, Prompt]]:
    """Build the prompts that ask for explanations, one a feature that fires in the half that explains.

    Parameters
    ----------
    examples
        Examples of features, from `find_examples`.
    text
        Strings of the store's tokens.
    settings
        Settings with which the examples were found.

    Yields
    ------
    feature, prompt
        Features that are silent in the half that explains are left out.
    """
    for one in examples:
        if len(one.explain):
            yield one.feature, explanation_prompt(one, text, settings)


def explanation_prompt(examples: FeatureExamples, text: TokenText, settings: LabelSettings) -> Prompt:
    """Build the prompt that asks what a feature responds to."""
    excerpts = examples.explain
    level = quantised(excerpts.activation, examples.maximum).tolist()
    parts = []
    for group, heading in _HEADINGS.items():
        columns = [text.column(excerpts.token[i], level[i]) for i in range(len(excerpts)) if excerpts.group[i] == group]
        if columns:
            parts.append(f"{heading}:\n\n" + "\n\n".join(columns))
    question = "\n\n".join([*parts, _ASK])
    return Prompt(conversation(_INSTRUCTIONS, _TURNS, question), settings.explanation_tokens)


def _turn(shown: Demonstration) -> tuple[str, str]:
    firing = [column for column, active in zip(shown.columns(), shown.active(), strict=True) if active]
    silent = [column for column, active in zip(shown.columns(), shown.active(), strict=True) if not active]
    groups = [(_HEADINGS[TOP], firing), (_HEADINGS[RANDOM], silent)]
    parts = [f"{heading}:\n\n" + "\n\n".join(columns) for heading, columns in groups]
    return "\n\n".join([*parts, _ASK]), shown.explanation


_TURNS = tuple(_turn(shown) for shown in DEMONSTRATIONS)


def read_explanation(answer: Answer) -> str:
    """Read the explanation in an answer; empty if there is none.

    Code fences, bullets, quotation marks and introductions such as "This feature responds to" are removed. The first
    line that says something counts. An explanation that was cut off at its longest length is kept.

    Examples
    --------
    >>> read_explanation(Answer("```\\nThis feature responds to: the word \\"cat\\".\\n```"))
    'the word "cat"'
    """
    if answer.outcome not in ("answered", "cut off") or declines(answer.text):
        return ""
    for line in answer.text.splitlines():
        plain = _BULLET.sub("", line.strip().strip("`*_ ").strip())
        plain = _unquoted(_INTRODUCTION.sub("", plain).strip("`*_ ").rstrip(".").strip())
        if any(character.isalnum() for character in plain):
            return plain[:_LONGEST]
    return ""


def explanation_outcome(answer: Answer) -> str:
    """Name what became of the answer: ``answered``, ``cut off``, ``refused``, ``malformed`` or ``failed``."""
    if answer.outcome in ("answered", "cut off") and not read_explanation(answer):
        return "refused" if declines(answer.text) else "malformed"
    return answer.outcome


def _unquoted(text: str) -> str:
    whole = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2
    return text[1:-1].strip() if whole else text
