"""Transfer and specificity of the smoke run's explanations, by models of known answers."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_commands import call_here
from yes_model import Yes

from universality import Study
from universality.errors import MismatchError, UniversalityError
from universality.labels import (
    LabelSettings,
    LabelSpecificity,
    LabelTransfer,
    SpecificitySettings,
    TokenPrices,
    TransferSettings,
)
from universality.pipeline.info import describe
from universality.pipeline.paths import RunFolder
from universality.pipeline.scoring_plan import ScoringPlan

LABELS = LabelSettings(
    scores=("detection",), explain_top=2, explain_random=0, explain_other=0, per_interval=0, score_top=2,
    score_random=9, score_other=0, logit_tokens=0, floors=False,
)  # fmt: skip
FEW = SpecificitySettings(n_intervals=2, per_interval=1, silent=2)


@pytest.fixture(scope="module")
def labelled(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with labels of four pairs."""
    folder = tmp_path_factory.mktemp("labelled") / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("figures", "models", "*.activations.h5"))
    with Study.open(folder) as study:
        study.label("best 4", explainer=Yes(), settings=LABELS)
    return folder


@pytest.fixture
def study(labelled: Path, tmp_path: Path) -> Iterator[Study]:
    shutil.copytree(labelled, tmp_path / "run")
    with Study.open(tmp_path / "run") as opened:
        yield opened


def test_a_labelled_run_is_measured_and_read_again(study: Study) -> None:
    made = study.transfer(scorer=Yes(), settings=TransferSettings(non_partners=1), specificity=FEW)
    table = made.transfer.summary().set_index("pairing")
    assert table.loc["partner", "n"] == 4
    assert {"second seed of A", "second seed of B"} <= set(table.index)  # the smoke run has ceilings
    assert (made.transfer.to_frame()["score"].dropna() == 0.5).all()  # yes to everything
    pairs = study.calibration.to_frame().set_index("row")["held_out"]
    partners = made.transfer.to_frame().query("pairing == 'partner'")
    assert partners["r"].tolist() == pairs[partners["feature"]].tolist()
    assert partners["effect_r"].notna().any()
    rates = made.transfer.same_explanation().set_index("pairs")
    assert rates.loc["difference", "rate"] == 0
    assert set(made.specificity) == {"A", "B"}
    for side in made.specificity.values():
        assert set(side.to_frame()["value"].dropna()) == {1.0}
    assert repr(study.label_transfer) == repr(made.transfer)
    folder = RunFolder(study.folder)
    assert LabelSpecificity.load(folder.label_specificity(study.stores[1].path)).verdicts.equals(
        made.specificity["B"].verdicts
    )
    assert LabelTransfer.load(made.files[0]).names == ("detection",)
    assert f"transfer of explanations {made.files[0]}" in list(describe(made.files[0]))
    assert any("explanation, over firings: 1.000 (n = " in line for line in describe(made.files[1]))
    shown = str(made)
    assert "detection: own 0.50, partner 0.50 (n = 4), second SAE seed 0.50" in shown
    assert "no partners could be compared with other pairs at equal r" in shown
    assert "judged to describe the same: 1.00 of partners, 1.00 of random pairs" in shown
    assert str(made.files[0]) in shown
    assert "answers that predict" not in shown  # all were usable
    unread = replace(made.transfer, judgements=made.transfer.judgements.assign(same=np.nan))
    assert "judged to describe the same: no verdict on 4 partners could be read, no verdict on" in str(
        replace(made, transfer=unread)
    )
    refused = replace(made.transfer, provenance={**made.transfer.provenance, "answers": {"answered": 9, "refused": 2}})
    assert re.search(r"of \d+ answers that predict: 2 refused;", str(replace(made, transfer=refused)))


def test_an_interrupted_call_resumes_without_asking_again(study: Study) -> None:
    whole, rest = Yes(), Yes()
    options = {"settings": TransferSettings(non_partners=1), "specificity": FEW}
    with pytest.raises(KeyboardInterrupt):
        study.transfer(scorer=Yes(most=9), **options)
    study.transfer(scorer=rest, **options)
    shutil.copy(study.folder / "labels" / "answers.jsonl", study.folder / "kept.jsonl")
    (study.folder / "labels" / "answers.jsonl").unlink()
    study.transfer(scorer=whole, **options)
    assert rest.asked < whole.asked - 8
    again = Yes()
    study.transfer(scorer=again, **options)
    assert again.asked == 0


def test_the_plan_comes_first_and_can_be_declined(study: Study) -> None:
    scorer, plans = Yes(), []

    def decline(plan: ScoringPlan) -> bool:
        plans.append(plan)
        return False

    with pytest.raises(UniversalityError, match="as you decided; nothing was asked"):
        study.transfer(scorer=scorer, prices=TokenPrices(10.0, 100.0), specificity=FEW, confirm=decline)
    assert scorer.asked == 0
    (plan,) = plans
    assert plan.needs_consent
    names = ["explanations of A tried on B"] + [f"specificity of the explanations of {side}" for side in "AB"]
    assert list(plan.parts) == names
    *parts, model, total = str(plan).splitlines()
    assert [part.partition(": about ")[0] for part in parts] == names
    assert model == "scorer: yes, in this process"
    requests = [int(re.findall(r"about ([\d,]+) requests", line)[0].replace(",", "")) for line in (*parts, total)]
    assert sum(requests[:-1]) == requests[-1] == plan.tokens.prompts
    asked_before: list[int] = []
    counted: list[ScoringPlan] = []

    def agree(one: ScoringPlan) -> bool:
        counted.append(one)
        asked_before.append(scorer.asked)
        return True

    study.transfer(scorer=scorer, specificity=FEW, confirm=agree)
    assert asked_before == [0]  # one plan, before the first request
    assert not counted[0].needs_consent
    asked = sum(one.tokens.prompts for one in counted)
    assert scorer.asked <= asked <= scorer.asked * 1.2  # equal prompts are asked once


def test_what_lacks_labels_or_has_others_is_refused(study: Study) -> None:
    with pytest.raises(MismatchError, match=r"scored by 'yes' .* but the scorer here is 'no'"):
        study.transfer(scorer=Yes("no"))
    with pytest.raises(UniversalityError, match="no transfer of explanations; `universality label-transfer` measures"):
        assert study.label_transfer
    shutil.rmtree(study.folder / "labels")
    with (
        Study.open(study.folder) as unlabelled,
        pytest.raises(UniversalityError, match=r"`universality label .* makes"),
    ):
        unlabelled.transfer(scorer=Yes())


def test_the_command_names_what_it_needs(labelled: Path) -> None:
    unnamed = call_here("label-transfer", labelled)
    assert unnamed.returncode == 2
    assert "scorer: expected --model" in unnamed.stderr
    away = call_here("label-transfer", labelled, "--model", "m", "--url", "http://127.0.0.1:9/v1")
    assert away.returncode == 2
    assert "127.0.0.1:9" in away.stderr
