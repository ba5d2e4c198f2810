"""A report with everything in it, strings from an unkind tokenizer among them."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universality.report import (
    ConceptRow,
    Example,
    FamilyLevel,
    FamilyTable,
    FeatureCard,
    FileLink,
    Headline,
    LanguageModel,
    LanguageModels,
    Pair,
    PairGroup,
    Report,
    SaeQuality,
    WidthRow,
    sample,
)
from universality.report.figures import best_match_distribution, describe_distribution, picture
from universality.statistics import CalibrationSummary, Null, NullSummary

sys.path.append(str(Path(__file__).parent))  # planted_run and chromium are importable in any import mode
from planted_fixtures import explored, explored_effects, explored_labels, labelled, planted  # noqa: F401 - pytest finds them here
from planted_run import NASTY


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say loudly where the page was not tested in a browser."""
    from chromium import CHROMIUM

    if CHROMIUM is None:
        text = "NOT TESTED: the report in a browser. Install chromium (Debian: apt-get install chromium)."
        terminalreporter.write_line(text, red=True, bold=True)


@pytest.fixture(scope="session")
def nasty() -> tuple[str, ...]:
    return NASTY


@pytest.fixture(scope="session")
def samples() -> list[Any]:
    """Best-match r of every role, with the order that theory expects: null < neurons < features < ceiling."""
    draw = np.random.default_rng(0)
    return [
        dataclasses.replace(
            sample("features", "SAE features", draw.beta(6, 6, 500), without=12), over_works=(0.47, 0.53), n_works=61
        ),
        sample("ceiling", "two SAEs of A", draw.beta(9, 4, 512)),
        sample("neurons", "neurons", draw.beta(4, 8, 512)),
        sample("null", "re-paired text", draw.normal(0.01, 0.01, 2000)),
    ]


def make_summary(
    null: Null = "global", share_significant: float = 0.98, share_within_kinds: float | None = None, **numbers: Any
) -> CalibrationSummary:
    """Numbers of a matching under one null, or two."""
    nulls = {null: NullSummary(replicates=5, median=0.01, q95=0.02, share_significant=share_significant)}
    if share_within_kinds is not None:
        nulls["kind"] = NullSummary(replicates=5, share_significant=share_within_kinds)
    return CalibrationSummary(nulls=nulls, **numbers)


SUMMARY_FIELDS = {"null", "share_significant", "share_within_kinds", "chosen_median", "nearest_median", "method"}


def make_headline(samples: list[Any], nearest_neurons: float = 0.4, **changes: Any) -> Headline:
    """A headline of samples; fields of its summary may be changed as if they were its own."""
    numbers = {name: changes.pop(name) for name in SUMMARY_FIELDS & set(changes)}
    headline = Headline(
        model_a="A",
        model_b="B",
        width=512,
        n_tokens=1_200_000,
        populations=tuple(s.population() for s in samples),
        summary=make_summary(**{"chosen_median": 0.51, "nearest_median": 0.55} | numbers),
        neurons=CalibrationSummary(nearest_median=nearest_neurons),
    )
    return dataclasses.replace(headline, **changes)


@pytest.fixture
def headline(samples: list[Any]) -> Callable[..., Headline]:
    """Build a headline from the samples, or from others, with any field changed."""

    def build(some: list[Any] | None = None, **changes: Any) -> Headline:
        return make_headline(samples if some is None else some, **changes)

    return build


def _example(tokens: tuple[str, ...], focus: int) -> Example:
    activations = tuple(0.3 * (i % 3) for i in range(len(tokens)))
    return Example(tokens, (*activations[:focus], 2.5, *activations[focus + 1 :]), focus, "hebrew", 1.25)


def _card(index: int, tokens: tuple[str, ...]) -> FeatureCard:
    examples = tuple(_example(tokens, focus) for focus in (0, 1, len(tokens) - 1))
    return FeatureCard(index, 0.0123, "hebrew", 0.93, tokens, examples)


def _width(width: int, held_out: float) -> WidthRow:
    a = SaeQuality("A", width, 0, width - 3, 0.83, 32.0, 0.97)
    b = SaeQuality("B", width, 0, width, 0.82, 32.0, 0.96)
    summary = make_summary(
        n_pairs=width - 3, chosen_median=held_out + 0.01, held_out_median=held_out, share_within_kinds=0.9,
        shares=(0.4, 0.2), gap=6.9e-13, collisions_rows=40,
    )  # fmt: skip
    return WidthRow(width, a, b, summary)


@pytest.fixture(scope="session")
def full(samples: list[Any], nasty: tuple[str, ...]) -> Report:
    """Every part filled; every string that comes from outside is unkind somewhere."""
    drawn = picture(
        "best-match", "answer", "Best matches", best_match_distribution(samples), describe_distribution(samples)
    )
    concepts = tuple(
        ConceptRow(kind, 5000, i, 7 + i, groups, 0.8, 0.9, 0.7, 0.75, True, 0.85, 0.84, 0.8, 0.88, 0.001, 0.2, 0.1,
                   2, i + 1, 0.9, tokens_a=nasty, tokens_b=nasty)
        for i, (kind, groups) in enumerate((("python", 30), ("hebrew", 39), ("base64", 2), (nasty[0], 40)))
    )  # fmt: skip
    pair = Pair(_card(1, nasty), _card(2, nasty[::-1]), 0.9, 0.88, 0.85, 0.9, 0.0004, -0.3)
    return Report(
        title=f"Two seeds {nasty[0]}",
        headline=make_headline(samples, model_a=f"A{nasty[4]}"),
        facts=(("hook", "blocks.0.mlp.hook_post"), ("note", nasty[2])),
        commands=("universality run configs/quickstart.yaml", f"echo {nasty[0]}"),
        models=LanguageModels(
            (LanguageModel("A", "starter/seed0", 0, 100, 3.9), LanguageModel(nasty[1], nasty[3], loss=4.6)), 7.28, 4.53
        ),
        widths=tuple(_width(w, 0.4 - w / 10000) for w in (512, 1024, 2048)),
        saes=(SaeQuality("A", 1024, 1, 700, 0.6, 32.0, 0.7),),
        concepts=concepts,
        pairs=(PairGroup("The best", "By held-out r.", (pair, pair)), PairGroup("The worst", "", ())),
        families=(FamilyTable("A", (FamilyLevel(512, 500, split=40), FamilyLevel(1024, 990, 0.3, 12, edges_in=700))),),
        pictures=(drawn,),
        files=(FileLink("../matches/A-B w512.csv", f"pairs {nasty[0]}"),),
        warnings=("A warning of the caller's.",),
        limits=("A limit of the caller's.",),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "report"
