"""Explanations from a feature's output, on a vocabulary whose raised tokens are known words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from universality.features import Dictionary, FeatureStore
from universality.labels import Answer, LabelSettings, Prompt, label
from universality.labels.logit_side import find_logit_tokens, logit_score, logit_text
from universality.models.unembedding import Unembedding

D_VOCAB, D_MODEL, N_FEATURES = 200, 4, 3
SETTINGS = LabelSettings(scores=("detection",))


def decode(ids: Iterable[int]) -> list[str]:
    """Tokens are numbers whose first word names the feature that raises them."""
    return [f" {'red' if i < 30 else 'blue' if i < 60 else 'grey'} {i}" for i in ids]


def logit_store(path: Path, weights: bool = True) -> FeatureStore:
    """Feature 0 raises tokens 0 to 29, feature 1 tokens 30 to 59 and lowers 0 to 29, feature 2 nothing."""
    rng = np.random.default_rng(0)
    rows = sparse.random(4000, N_FEATURES, 0.1, "csr", np.float32, rng)
    unembedding = rng.normal(0, 0.01, (D_MODEL, D_VOCAB))
    unembedding[0, :30] += np.linspace(3, 2, 30)
    unembedding[1, 30:60] += np.linspace(3, 2, 30)
    unembedding[1, :30] -= 1
    unembedding[:, -5:] = 100  # beyond the vocabulary that counts
    mask = np.arange(D_VOCAB) < D_VOCAB - 5
    residual = np.eye(N_FEATURES, D_MODEL, dtype=np.float32)
    residual[2] = 0
    return FeatureStore.from_csr(
        rows,
        path,
        rng.integers(0, D_VOCAB, 4000),
        special_tokens=(),
        document=np.arange(4000) // 100,
        dictionary=Dictionary(decoder=residual, residual=residual) if weights else None,
        unembedding=Unembedding(unembedding, np.ones(D_MODEL), mask, center_d_model=False) if weights else None,
    )


@dataclass
class Reader:
    """Explains by the first word of the raised tokens, and says yes to the tokens with that word."""

    name: str = "reader"
    context: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        for i, prompt in enumerate(prompts):
            first, last = prompt.messages[0].content, prompt.messages[-1].content
            if "by its output" in first:
                yield i, Answer(last.split('"')[1].split()[0])
            elif "which next tokens" in first:
                explanation, *lines = (line for line in last.split("\n") if line)
                word = explanation.rpartition(" ")[2]
                yield i, Answer("\n".join(f"{line.split(':')[0]}: {'yes' if word in line else 'no'}" for line in lines))
            else:
                yield i, Answer(f"anything {i}")


def test_raised_and_lowered_tokens(tmp_path: Path) -> None:
    with logit_store(tmp_path / "a.h5") as store:
        first, second = find_logit_tokens(store, np.arange(N_FEATURES), SETTINGS)  # feature 2 raises nothing
        for one, low in ((first, 0), (second, 30)):
            raised = one.scored[one.is_raised]
            assert len(one.raised) == len(raised) == 10
            assert not set(one.raised) & set(raised)
            assert set(one.raised) | set(raised) <= set(range(low, low + 30))
            assert max(one.raised.tolist() + raised.tolist()) < low + 24  # the 20 most raised, but for noise
            others = one.scored[~one.is_raised]
            assert len(others) == len(set(others)) == 10
            assert others.max() < D_VOCAB - 5
        assert second.lowered.max() < 30


def test_an_explanation_that_names_them_scores_one(tmp_path: Path) -> None:
    with logit_store(tmp_path / "a.h5") as store:
        found = label(store, decode, explainer=Reader(), settings=SETTINGS)
    for feature, word in ((0, "red"), (1, "blue")):
        one = found.labels[feature]
        assert one.logit_explanation == word
        own, floor = one.score("logit tokens"), one.score("logit tokens", "random explanation")
        assert own is not None
        assert own.value > 0.85  # random tokens may be raised as well
        if floor is not None:
            assert floor.value < 0.6
    assert any(found.labels[i].score("logit tokens", "random explanation") for i in (0, 1))
    assert found.labels[2].logit_explanation == ""


def test_stores_without_weights_have_no_output_side(tmp_path: Path) -> None:
    with logit_store(tmp_path / "a.h5", weights=False) as store:
        assert logit_text(store, decode) is None
        assert list(find_logit_tokens(store, np.arange(N_FEATURES), SETTINGS)) == []


def test_verdicts_at_random_score_a_half(tmp_path: Path) -> None:
    with logit_store(tmp_path / "a.h5") as store:
        one = next(find_logit_tokens(store, np.arange(1), LabelSettings(logit_tokens=40)))
    verdicts = np.random.default_rng(0).integers(0, 2, len(one.scored)).astype(float)
    score = logit_score(one, "explanation", verdicts, SETTINGS)
    assert score.low < 0.5 < score.high
    assert logit_score(one, "explanation", one.is_raised.astype(float), SETTINGS).value == 1
    verdicts[: len(verdicts) * 2 // 3] = np.nan
    assert np.isnan(logit_score(one, "explanation", verdicts, SETTINGS).value)


def test_none_are_asked_for(tmp_path: Path) -> None:
    with logit_store(tmp_path / "a.h5") as store:
        assert list(find_logit_tokens(store, np.arange(3), LabelSettings(logit_tokens=0))) == []
        assert logit_text(store, decode) is not None


@pytest.mark.parametrize("n", [1, 60])
def test_numbers_that_the_vocabulary_allows(tmp_path: Path, n: int) -> None:
    with logit_store(tmp_path / "a.h5") as store:
        one = next(find_logit_tokens(store, np.arange(1), LabelSettings(logit_tokens=n)))
    assert len(one.raised) == len(one.lowered) == one.is_raised.sum() == min(n, 195 // 4)
