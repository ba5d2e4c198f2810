"""Do two explanations describe the same thing? Judged by a model that knows neither features nor pairs.

Each pair of explanations is one prompt, in random order. Beside the partners' explanations, in the same form, are
explanations of A's features with those of the partners of other features, of the same kind of text. Their rate of "yes"
is what chance gives with this judge, and the difference is the finding: a judge that says yes to everything has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from universality.labels.accuracy import balanced_accuracy, weighted_share
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.excerpt_text import conversation
from universality.labels.keyed_answers import Ask, keyed_answers
from universality.labels.label_file import Labels
from universality.labels.predictions import what_became
from universality.labels.transfer_trials import Trial

PARTNERS, RANDOM_PAIRS = "partners", "random pairs"
"""Names of the two groups of pairs."""
JUDGEMENT_COLUMNS = ("feature", "other", "pairs", "same", "outcome")
_INSTRUCTIONS = """\
Two people described what a feature of a language model responds to. Say whether the two descriptions are of the same \
thing: whether text that fits one would fit the other as well. Other words for the same thing count as the same. Two \
things on the same topic, or one thing that is only part of the other, do not.

Answer with one word, yes or no."""
_TURNS = (
    (('the word "not", above all after an auxiliary verb', 'negation with "not"'), "yes"),
    (("base64-encoded data", "sequences of DNA letters"), "no"),
    (('the French article "le"', "text in French"), "no"),
    (("opening brackets after a function's name in Python", 'the "(" of a Python function call'), "yes"),
)
_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


def same_prompt(first: str, second: str) -> Prompt:
    """Build the prompt that asks whether two explanations describe the same thing."""
    turns = [(_question(*pair), word) for pair, word in _TURNS]
    return Prompt(conversation(_INSTRUCTIONS, turns, _question(first, second)), 10)


def read_same(text: str) -> float:
    """Read the judgement: 1 for yes, 0 for no, NaN if the answer begins with neither.

    >>> read_same("Yes, both are."), read_same("**No**"), read_same("Perhaps")
    (1.0, 0.0, nan)
    """
    word = _WORD.match(text)
    return float("nan") if word is None else float(word[1].lower() == "yes")


def judge_same(
    partners: Sequence[Trial], kind: Sequence[object], a: Labels, b: Labels, model: ChatModel, ask: Ask, seed: int
) -> pd.DataFrame:
    """Have a model judge the explanations of partners and of random pairs.

    Parameters
    ----------
    partners
        Partners; those without an explanation in B are left out.
    kind
        Kind of text of each partner; a random pair has the partner of another feature, of the same kind.
    a, b
        Labels of both models.
    model, ask
        The judge, and the function that has it answer.
    seed
        Seed of the random pairs and of the order of the two explanations.

    Returns
    -------
    DataFrame
        One row a pair: ``feature`` of A, ``other`` feature of B, ``pairs`` (``"partners"`` or ``"random pairs"``),
        ``same`` (1, 0, or NaN without a judgement) and ``outcome`` of the answer.
    """
    explained = [
        (trial, code) for trial, code in zip(partners, kind, strict=True) if _explanation(b, trial.scored) is not None
    ]
    rng = np.random.default_rng([seed, 9])
    pairs = [(t.feature, t.scored, PARTNERS) for t, _ in explained]
    pairs += [(feature, other, RANDOM_PAIRS) for feature, other in _exchanged(explained, rng)]
    swapped = rng.random(len(pairs)) < 0.5

    def prompts() -> Iterator[tuple[int, Prompt]]:
        for k in rng.permutation(len(pairs)).tolist():
            both = a.labels[pairs[k][0]].explanation, b.labels[pairs[k][1]].explanation
            yield k, same_prompt(*(both[::-1] if swapped[k] else both))

    rows = sorted((k, *_judgement(answer)) for k, answer in keyed_answers(ask, model, prompts(), len(pairs)))
    return pd.DataFrame([(*pairs[k], *judged) for k, *judged in rows], columns=list(JUDGEMENT_COLUMNS))


def same_rates(judgements: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Tabulate how often explanations were judged the same.

    Parameters
    ----------
    judgements
        Result of `judge_same`.
    level
        Nominal coverage.

    Returns
    -------
    DataFrame
        Rows ``partners``, ``random pairs`` and their ``difference``, with ``n`` judgements, ``missing`` ones, ``rate``,
        ``low`` and ``high``: Wilson's intervals, and for the difference that of Zou & Donner 2008, with the correlation
        of the two rates over features (`universality.labels.accuracy`).
    """
    known = judgements.dropna(subset="same")
    rows = []
    for name in (PARTNERS, RANDOM_PAIRS):
        part = known[known["pairs"] == name]
        same = part["same"].to_numpy(np.float64) == 1
        share = weighted_share(same, np.ones(len(part)), part["feature"].to_numpy(np.int64), level)
        rows.append([name, len(part), int((judgements["pairs"] == name).sum()) - len(part), *share])
    # balanced accuracy of "same" for telling partners from random pairs is 1/2 + difference / 2
    guess, truth = known["same"].to_numpy(np.float64), (known["pairs"] == PARTNERS).to_numpy()
    difference = [2 * x - 1 for x in balanced_accuracy(guess, truth, known["feature"].to_numpy(np.int64), level)]
    rows.append(["difference", len(known), len(judgements) - len(known), *difference])
    return pd.DataFrame(rows, columns=["pairs", "n", "missing", "rate", "low", "high"])


def _question(first: str, second: str) -> str:
    return f"First: {first}\nSecond: {second}"


def _explanation(labels: Labels, feature: int) -> str | None:
    one = labels.labels.get(feature)
    return one.explanation if one is not None and one.explanation else None


def _exchanged(explained: list[tuple[Trial, object]], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Give each feature the partner of the next one of its kind, in random order, so that each is used once."""
    codes = np.unique([str(code) for _, code in explained], return_inverse=True)[1]
    for code in range(int(codes.max(initial=-1)) + 1):
        of_kind = rng.permutation(np.flatnonzero(codes == code))
        if of_kind.size > 1:
            for one, following in zip(of_kind.tolist(), np.roll(of_kind, 1).tolist(), strict=True):
                yield explained[one][0].feature, explained[following][0].scored


def _judgement(answer: Answer) -> tuple[float, str]:
    same = read_same(answer.text) if answer.outcome in ("answered", "cut off") else float("nan")
    return same, what_became(answer, int(not np.isnan(same)))
