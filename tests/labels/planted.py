"""A world of known features: synthetic text, a real tokenizer trained on it, and a store whose features are rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.corpus.tokenizer import Tokenizer, train_bpe
from universality.features import FeatureStore
from universality.labels import Answer, Prompt

COMMON = (
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "was",
    "it",
    "he",
    "for",
    "that",
    "with",
    "his",
    "on",
    "at",
    "by",
    "from",
    "they",
    "we",
    "her",
    "she",
    "had",
    "one",
    "all",
    "were",
    "when",
    "can",
    "said",
    "there",
    "each",
    "which",
    "their",
    "time",
    "will",
    "way",
    "about",
    "many",
    "then",
    "them",
    "would",
    "write",
    "like",
    "so",
    "these",
    "long",
    "make",
    "thing",
    "see",
    "him",
    "two",
    "has",
    "more",
    "day",
    "could",
    "come",
    "did",
    "sound",
    "most",
    "number",
    "who",
    "over",
    "know",
    "water",
    "than",
    "call",
    "first",
    "people",
    "may",
    "down",
    "side",
    "been",
    "now",
    "find",
)
MARKED = ("not", "sea", "ship", "red", "king", "seven", "song", "glass")
HEBREW = ("מלך", "ארץ", "שמים", "ים", "דבר", "יום", "לילה", "בית")
N_CTX, N_DOCUMENTS, WORDS = 65, 64, 256
Rule = Callable[[Sequence[str]], list[bool]]


def word_rule(word: str) -> Rule:
    return lambda tokens: [token.strip() == word for token in tokens]


def hebrew_rule(tokens: Sequence[str]) -> list[bool]:
    return [bool(re.search("[א-ת]", token)) for token in tokens]


def after_the(tokens: Sequence[str]) -> list[bool]:
    return [False, *(token.strip() == "the" for token in tokens[:-1])][: len(tokens)]


RULES: dict[str, Rule] = {f'the word "{word}"': word_rule(word) for word in MARKED}
RULES |= {"Hebrew script": hebrew_rule, "the word after the article": after_the}
NAMES = tuple(RULES)
DEAD, ONLY_REPORT, ONLY_CHOOSE, RARE = range(len(NAMES), len(NAMES) + 4)
N_FEATURES = len(NAMES) + 4


def strength(before: str, token: str) -> int:
    """How strongly any feature fires, 1 to 9, which the letters of the token and of the one before decide."""
    return 1 + sum(map(ord, before.strip() + token.strip())) % 9


def levels(rule: Rule, tokens: Sequence[str]) -> list[int]:
    """Activations that the rule gives, which are levels as well since the strongest is 9; 5 where nothing is before."""
    strengths = [5, *map(strength, tokens[:-1], tokens[1:])]
    return [value if fires else 0 for value, fires in zip(strengths, rule(tokens), strict=True)]


def document(i: int) -> str:
    rng = np.random.default_rng([7, i])
    words = HEBREW if i % 8 >= 6 else COMMON + MARKED * 2
    return " " + " ".join(rng.choice(words, WORDS))


@cache
def tokenizer() -> Tokenizer:
    return train_bpe([document(i) for i in range(N_DOCUMENTS)], d_vocab=900)


def decode(ids: Sequence[int]) -> list[str]:
    return [tokenizer().token_texts[i] for i in ids]


def planted_store(path: Path, split: Callable[[int], str] = lambda i: "choose" if i % 2 else "report") -> FeatureStore:
    """Write a store over all documents; features are `NAMES`, then a dead one and three that fire in few places."""
    names = tuple(f"document {i}" for i in range(N_DOCUMENTS))
    kinds = tuple("hebrew" if i % 8 >= 6 else "english" for i in range(N_DOCUMENTS))
    documents = DocumentTable(names, kinds, names, tuple(map(split, range(N_DOCUMENTS))))
    provenance = {"model": {"name": "planted", "hash": "0"}, "site": "blocks.0.hook_resid_post"}
    with FeatureStore.create(path, N_FEATURES, provenance, documents) as writer:
        for i in range(N_DOCUMENTS):
            ids = np.asarray(tokenizer().encode_with_spans([document(i)])[0].ids)
            for first in range(0, len(ids), N_CTX - 1):
                part = ids[first : first + N_CTX - 1]
                tokens = decode(part.tolist())
                values = np.zeros((len(part), N_FEATURES), np.float32)
                for j, rule in enumerate(RULES.values()):
                    values[:, j] = levels(rule, tokens)
                half = split(i)
                values[:, ONLY_REPORT] = values[:, 0] * (half == "report")
                values[:, ONLY_CHOOSE] = values[:, 1] * (half == "choose")
                values[5, RARE] = 3.0 if first == 0 and i in (3, 4, 5, 8) else 0.0
                writer.append(
                    sparse.csr_matrix(values),
                    token=part,
                    document=[i] * len(part),
                    position=np.arange(1, len(part) + 1),
                    kind=[kinds[i]] * len(part),
                )
    return FeatureStore.open(path)


def question(prompt: Prompt) -> tuple[str, str]:
    """Kind of a prompt, and its last message."""
    first = prompt.messages[0].content
    kinds = {
        "Find what the tokens": "explain",
        "You predict a feature": "simulate",
        "whether anything in it": "detect",
        "some tokens are marked": "fuzz",
        "of a language model by its output": "explain logits",
        "of which next tokens": "score logits",
        "two descriptions are of the same": "same",
        "one token is marked": "mark one",
    }
    (kind,) = [kind for words, kind in kinds.items() if words in first]
    return kind, prompt.messages[-1].content


@dataclass
class Oracle:
    """Answers by the truth: it recognises rules in excerpts, and applies the rule that an explanation names.

    ``chance`` says of an explanation whether it is answered at random instead.
    """

    name: str = "oracle"
    context: int | None = None
    chance: Callable[[str], bool] = lambda explanation: False
    settings: Mapping[str, Any] = field(default_factory=dict)
    asked: list[Prompt] = field(default_factory=list)
    edit: Callable[[str, str], Answer | str] = lambda kind, text: text

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        for i, prompt in enumerate(prompts):
            self.asked.append(prompt)
            kind, text = question(prompt)
            answer = self.edit(kind, self._answer(kind, text))
            yield i, answer if isinstance(answer, Answer) else Answer(answer)

    def _answer(self, kind: str, text: str) -> str:
        if kind == "explain":
            return recognised(text)
        if kind == "same":
            first, second = (line.partition(": ")[2] for line in text.split("\n"))
            return "yes" if first == second else "no"
        explanation, _, rest = text.partition("\n\n")
        explanation = explanation.partition(": ")[2]
        rng = np.random.default_rng([len(self.asked)]) if self.chance(explanation) else None
        if kind == "simulate":
            return simulated(explanation, rest, rng)
        verdicts = [
            bool(rng.integers(2)) if rng is not None else JUDGES[kind](explanation, line) for line in rest.split("\n")
        ]
        return "\n".join(f"{k}: {'yes' if verdict else 'no'}" for k, verdict in enumerate(verdicts, 1))


def rule_of(explanation: str) -> Rule:
    """The rule that an explanation names; for a list of tokens, that a token is in it."""
    if explanation in RULES:
        return RULES[explanation]
    listed = set(re.findall(r'"([^"]*)"', explanation))
    return lambda tokens: [token in listed for token in tokens]


def recognised(text: str) -> str:
    """The rule that agrees with all levels of the excerpts; where several do, the first."""
    excerpts = [[line.rsplit("\t", 1) for line in part.split("\n")] for part in text.split("\n\n") if "\t" in part]
    for name, rule in RULES.items():
        wrong = 0
        for excerpt in excerpts:
            tokens, found = [token for token, _ in excerpt], [int(level) for _, level in excerpt]
            wrong += sum(a != (b > 0) for a, b in zip(rule(tokens)[1:], found[1:], strict=True))
        if not wrong:
            return name
    return "something that no rule describes"


def simulated(explanation: str, text: str, rng: np.random.Generator | None) -> str:
    parts = []
    for part in text.split("\n\n"):
        heading, *lines = part.split("\n")
        tokens = [line.rsplit("\t", 1)[0] for line in lines]
        values = levels(rule_of(explanation), tokens) if rng is None else rng.integers(0, 10, len(tokens)).tolist()
        parts.append("\n".join([heading, *(f"{t}\t{v}" for t, v in zip(tokens, values, strict=True))]))
    return "\n\n".join(parts)


def words(line: str) -> list[str]:
    """Tokens of a line: every word of the planted text is one token, with the space before it."""
    return re.findall(r" ?[^ ]+", line.partition(": ")[2])


def contains(explanation: str, line: str) -> bool:
    return any(rule_of(explanation)(words(line)))


def marks(explanation: str, line: str) -> bool:
    """Whether the marked tokens are those on which the rule fires."""
    body = line.partition(": ")[2]
    pieces = [(piece, k % 2 == 1) for k, piece in enumerate(re.split("<<|>>", body))]
    tokens = [(token, marked) for piece, marked in pieces for token in re.findall(r" ?[^ ]+", piece)]
    fires = rule_of(explanation)([token for token, _ in tokens])
    return [marked for _, marked in tokens][1:] == fires[1:]


def holds_at_mark(explanation: str, line: str) -> bool:
    """Whether the rule fires on the marked token."""
    before, _, rest = line.partition(": ")[2].partition("<<")
    marked, _, after = rest.partition(">>")
    tokens = [re.findall(r" ?[^ ]+", part) for part in (before, marked, after)]
    fires = rule_of(explanation)([token for part in tokens for token in part])
    return bool(fires[len(tokens[0])])


JUDGES = {"detect": contains, "fuzz": marks, "mark one": holds_at_mark}
