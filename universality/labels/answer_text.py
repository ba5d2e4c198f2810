"""Read answers of any kind: refusals in words, and verdicts of yes or no on numbered items."""

from __future__ import annotations

import re

import numpy as np

from universality.arrays import FloatArray

_REFUSAL = re.compile(
    r"^\W*(?:(?:i['’]?m|i am) (?:(?:very |so )?sorry|unable|not able|afraid)|sorry,"
    r"|i (?:cannot|can['’]t|won['’]t)|as an? (?:ai|language model|assistant)\b)",
    re.IGNORECASE,
)
_VERDICT = re.compile(
    r"(?<![\w.])(?:(?:excerpt|example|token|item)\s*)?[#\"(]?(\d{1,4})[\")]?\s*[:.)=\t|–-]+[\s*\"]*(yes|no|true|false|[01])\b",
    re.IGNORECASE,
)
_LIST = re.compile(r"\[\s*(?:yes|no|true|false|[01])(?:\s*,\s*(?:yes|no|true|false|[01]))*\s*\]", re.IGNORECASE)
_MEANING = {"yes": 1.0, "true": 1.0, "1": 1.0, "no": 0.0, "false": 0.0, "0": 0.0}


def declines(text: str) -> bool:
    """Return whether an answer begins as a refusal does.

    >>> declines("I'm sorry, but I can't help with that."), declines("words such as sorry")
    (True, False)
    """
    return _REFUSAL.match(text) is not None


def read_verdicts(text: str, n: int) -> FloatArray:
    """Read a verdict on each of n items: 1 for yes, 0 for no, NaN where there is none.

    Verdicts are numbered from 1 ("3: yes", "Excerpt 3 - no"), or one list of exactly n, or n lines of one word each.
    Two different verdicts on one item count as none, and so does a number beyond n.

    Parameters
    ----------
    text
        The answer.
    n
        Number of items.

    Returns
    -------
    float64 [n]

    Examples
    --------
    >>> read_verdicts("1: yes\\n2: no\\nExcerpt 3: perhaps", 3)
    array([ 1.,  0., nan])
    >>> read_verdicts("[1, 0, 1]", 3), read_verdicts("[1, 0]", 3)
    (array([1., 0., 1.]), array([nan, nan, nan]))
    """
    verdicts = np.full(n, np.nan)
    if not _VERDICT.search(text):
        words = _unnumbered(text)
        return np.array([_MEANING[word] for word in words]) if len(words) == n else verdicts
    contradicted = set()
    for number, word in _VERDICT.findall(text):
        item, meaning = int(number) - 1, _MEANING[word.lower()]
        if 0 <= item < n:
            if not np.isnan(verdicts[item]) and verdicts[item] != meaning:
                contradicted.add(item)
            verdicts[item] = meaning
    verdicts[list(contradicted)] = np.nan
    return verdicts


def _unnumbered(text: str) -> list[str]:
    """Words of the only list in a text, or of its lines if each is a verdict; none otherwise."""
    lists = _LIST.findall(text)
    if len(lists) == 1:
        return re.findall(r"\w+", lists[0].lower())
    words = [line.strip(" *`.-\t").lower() for line in text.splitlines() if line.strip("` \t")]
    return words if all(word in _MEANING for word in words) else []
