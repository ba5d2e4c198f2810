"""Labels of the smoke run by models of known answers: what is labelled, what it costs, and that it resumes."""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_commands import call_here

from tests.labels.planted import question
from universality import Study
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.labels import Answer, Endpoint, LabelSettings, Prompt, TokenPrices, read_labels
from universality.pipeline.label_run import LabelPlan, PricedModel

SETTINGS = LabelSettings(
    scores=("detection",), explain_top=2, explain_random=0, explain_other=0, per_interval=0, score_top=2,
    score_random=2, score_other=0, logit_tokens=2, floors=False,
)  # fmt: skip


class Parrot:
    """Explains every feature in its own words, and finds everything in every text."""

    name, settings, context = "parrot", {}, None

    def __init__(self, most: int = 10**6) -> None:
        self.asked, self._most = 0, most

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        for place, prompt in enumerate(prompts):
            if self.asked == self._most:
                raise KeyboardInterrupt
            self.asked += 1
            kind, _ = question(prompt)
            text = (
                "\n".join(f"{k}: yes" for k in range(1, 40)) if kind in ("detect", "score logits") else f"word {place}"
            )
            yield place, Answer(text, prompt_tokens=100, answer_tokens=10)


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Iterator[Study]:
    """A copy of the run that may be written to."""
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("effects", "figures", "models"))
    with Study.open(tmp_path / "run") as opened:
        yield opened


def test_best_pairs_are_labelled_on_both_sides_and_seen_by_the_run(study: Study) -> None:
    model = Parrot()
    made = study.label(" best 3 ", explainer=model, settings=SETTINGS)
    pairs = study.calibration.to_frame().nlargest(3, "held_out")
    assert sorted(made["A"].labels) == sorted(pairs["row"])
    assert sorted(made["B"].labels) == sorted(pairs["col"])
    assert all(one.outcome == "answered" for one in made["A"].labels.values())
    found = study.labels
    assert {name: repr(found[name].labels) for name in found} == {name: repr(made[name].labels) for name in "AB"}
    assert "detection" in str(made)


def test_an_interrupted_call_resumes_without_asking_again(study: Study) -> None:
    whole = Parrot()
    with pytest.raises(KeyboardInterrupt):
        study.label("best 3", explainer=Parrot(8), settings=SETTINGS)
    study.label("best 3", explainer=whole, settings=SETTINGS)
    alone = Parrot()
    shutil.rmtree(study.folder / "labels")
    study.label("best 3", explainer=alone, settings=SETTINGS)
    assert whole.asked == alone.asked - 8
    third = Parrot()
    study.label("best 3", explainer=third, settings=SETTINGS)
    assert third.asked == 0


def test_the_plan_comes_first_and_can_be_declined(study: Study) -> None:
    model, plans = Parrot(), []

    def decline(plan: LabelPlan) -> bool:
        plans.append(plan)
        return False

    prices = TokenPrices(prompt=10.0, answer=100.0)
    with pytest.raises(UniversalityError, match="as you decided; nothing was asked"):
        study.label("best 3", explainer=model, prices=prices, settings=SETTINGS, confirm=decline)
    assert model.asked == 0
    assert not (study.folder / "labels").exists()
    (plan,) = plans
    made = study.label("best 3", explainer=model, prices=prices, settings=SETTINGS)
    assert plan.total.prompts == model.asked == sum(tally.total for tally in made.tallies.values())
    assert plan.cost == pytest.approx((10 * plan.total.prompt_tokens + 100 * plan.total.answer_tokens) / 1e6)
    assert f"at most about {plan.cost:,.2f} USD" in str(plan)
    assert plan.needs_consent
    size = sum(file.stat().st_size for file in (study.folder / "labels").iterdir())
    assert size < plan.disk < 5 * size


def test_text_that_leaves_the_machine_needs_consent() -> None:
    assert PricedModel(Endpoint("m")).leaves_this_machine
    assert not PricedModel(Endpoint("m", "http://127.0.0.1:1/v1")).leaves_this_machine
    assert not PricedModel(Parrot()).leaves_this_machine
    assert not PricedModel(Parrot(), TokenPrices(0, 0)).costs


def test_features_are_named_with_their_partners(study: Study) -> None:
    row, col = int(study.match.rows[4]), int(study.match.cols[4])
    made = study.label(f"A:{row}, B:{col}", explainer=Parrot(), settings=SETTINGS)
    assert (list(made["A"].labels), list(made["B"].labels)) == ([row], [col])
    again = Parrot()
    listed = study.label([f"A:{row}", f"B:{col}"], explainer=again, settings=SETTINGS)
    assert (list(listed["A"].labels), list(listed["B"].labels)) == ([row], [col])
    assert again.asked == 0  # the same features as the text names
    random = study.label("random 2", explainer=Parrot(), settings=SETTINGS, replace=True)
    assert len(random["A"].labels) == 2
    narrow = study.label("best 2", explainer=Parrot(), settings=SETTINGS, width=32)
    assert (study.folder / "labels" / "B.w32-s0.jsonl").is_file()
    assert max(narrow["A"].labels) < 32
    matched = study.label(explainer=Parrot(), settings=SETTINGS, replace=True)
    assert len(matched["A"].header["features"]) == len(np.unique(study.match.rows))


class Mute(Parrot):
    """Fails for one of two reasons, from some prompt on."""

    def __init__(self, answers: int = 0) -> None:
        super().__init__()
        self._answers = answers

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        for place, answer in super().ask(prompts):
            reason = "status 500: busy" if place == 1 else "status 400: temperature is not supported"
            yield place, answer if self.asked <= self._answers else Answer("", "failed", problem=reason)


def test_failures_are_printed_with_their_reasons(study: Study) -> None:
    shown = str(study.label("best 3", explainer=Mute(answers=1), settings=SETTINGS))
    assert re.search(r"\n\d+ failed: status 400: temperature is not supported\n", shown)
    assert re.search(r"\n[1-9] failed: status 500: busy$", shown)


def test_a_call_in_which_every_answer_fails_is_an_error(study: Study) -> None:
    expected = r"nothing was answered.*: \d+ failed: status 400: temperature is not supported; \d failed: status 500"
    with pytest.raises(ModelError, match=expected):
        study.label("best 3", explainer=Mute(), settings=SETTINGS)
    model = Parrot()
    study.label("best 3", explainer=model, settings=SETTINGS)  # failures are asked again
    assert model.asked > 6


@pytest.mark.parametrize(
    ("features", "width", "said"),
    [
        ("worst 3", None, "expected 'matched', 'best 200', 'random 200', or features of A and B such as A:1380"),
        ("best 0", None, "expected 'matched'"),
        ("A:128", None, "A has features 0 to 127 at width 128"),
        ("C:1", None, "features of A and B"),
        ("", None, "expected at least one"),
        (" , ", None, "expected at least one"),
        ("A:1,,B:2", None, "features 'A:1,,B:2': expected a name between commas"),
        (["A:1", ""], None, "expected a name between commas"),
        ("best 99999", None, r"'best 99999': the run has \d+ pairs with a held-out r; ask for at most as many"),
        ("random 99999", None, r"the run has \d+ matched pairs"),
        (5, None, "expected 'matched', .* or names of features such as .*, found 5"),
        (None, None, "found None"),
        ([3], None, r"found \[3\]"),
        ("matched", 33, "A and B were not matched at width 33; expected one of 32, 64, 128"),
    ],
)
def test_what_cannot_be_labelled(finished: Path, features: Any, width: int | None, said: str) -> None:
    with Study.open(finished) as study, pytest.raises(UniversalityError, match=said):
        study.label(features, explainer=Parrot(), settings=SETTINGS, width=width)


def test_labels_of_something_else_are_kept_unless_replaced(study: Study) -> None:
    study.label("best 2", explainer=Parrot(), settings=SETTINGS)
    file = study.folder / "labels" / "A.w128-s0.jsonl"
    before = file.read_bytes()
    with pytest.raises(MismatchError, match=r"made from something else: features.*--replace .* begins again"):
        study.label("best 3", explainer=Parrot(), settings=SETTINGS)
    with pytest.raises(MismatchError) as error:
        study.label("best 3", explainer=Parrot(), settings=SETTINGS)
    assert "delete it" not in str(error.value)  # which would take the labels of a run's other calls along
    assert file.read_bytes() == before
    model = Parrot()
    study.label("best 3", explainer=model, settings=SETTINGS, replace=True)
    alone = Parrot()
    shutil.rmtree(study.folder / "labels")
    study.label("best 3", explainer=alone, settings=SETTINGS)
    assert model.asked < alone.asked  # explanations and scores of the two best pairs were in the cache


def test_the_command_labels_with_a_model_in_this_process(study: Study, tmp_path: Path, chat_model: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "explain_top: 2\nexplain_random: 0\nexplain_other: 0\nper_interval: 0\nscore_top: 2\n"
        "score_random: 2\nscore_other: 0\nlogit_tokens: 0\n"
    )
    command = ["label", study.folder, "--local", chat_model, "--features", "best 1", "--scores", "detection"]
    command += [
        "--settings",
        settings,
        "--set",
        "explanation_tokens=4",
        "--set",
        "floors=false",
        "--set",
        "logit_tokens=0",
    ]
    command += ["--set", "score_random=2", "--set", "score_other=0"]
    refused = call_here(*command, "--price-in", 1, "--price-out", 1)
    assert refused.returncode == 2
    assert "give --yes to agree" in refused.stderr
    assert not (study.folder / "labels").exists()
    none = call_here(*command, "--scores", "")
    assert none.returncode == 2
    assert "scores must hold at least 1" in none.stderr
    twice = call_here(*command, "--set", "scores=[fuzzing]")
    assert twice.returncode == 2
    assert "scores is given more than once" in twice.stderr
    done = call_here(*command)
    assert done.returncode == 0, done.stderr
    assert "at most" in done.stdout
    assert "detection" in done.stdout
    (label,) = read_labels(study.folder / "labels" / "A.w128-s0.jsonl").labels.values()
    assert label.explanation
    again = call_here(*command)
    assert "1 of them have a label" in again.stdout


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.labels.chat_model import save_chat_model

    return save_chat_model(tmp_path_factory.mktemp("chat") / "tiny", context=4096)
