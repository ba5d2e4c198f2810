"""Published concepts in the smoke run: what it costs, what is written, and that it resumes."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_commands import call_here
from yes_model import Yes

from universality import Study
from universality.errors import MismatchError, UniversalityError
from universality.labels import (
    Concept,
    Endpoint,
    LabelSettings,
    LiteratureComparison,
    LiteratureSettings,
    TokenPrices,
)
from universality.pipeline.info import describe
from universality.pipeline.scoring_plan import ScoringPlan

LABELS = LabelSettings(
    scores=("detection",), explain_top=2, explain_random=0, explain_other=0, per_interval=0, score_top=2,
    score_random=2, score_other=0, logit_tokens=0, floors=False,
)  # fmt: skip
SETTINGS = LiteratureSettings(shortlist=1, replicates=19)
CONCEPTS = (Concept("first", "word 1", "someone"), Concept("<b>unlike</b>", "zebra"))


@pytest.fixture(scope="module")
def labelled(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled") / "run"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("effects", "figures", "models"))
    with Study.open(folder) as study:
        study.label("best 25", explainer=Yes(), settings=LABELS)
    return folder


@pytest.fixture
def study(labelled: Path, tmp_path: Path) -> Iterator[Study]:
    shutil.copytree(labelled, tmp_path / "run")
    with Study.open(tmp_path / "run") as opened:
        yield opened


def test_the_table_is_printed_written_and_shown(study: Study) -> None:
    found = study.literature(CONCEPTS, scorer=Yes(), settings=SETTINGS)
    shown = str(found)
    assert shown.startswith("0 of 2 concepts found in A, 0 of 2 concepts found in B\n")
    assert "first" in shown
    assert "word 1" in shown
    written, table = found.files
    assert written == study.folder / "labels" / written.name
    assert repr(LiteratureComparison.load(written).results) == repr(found.comparison.results)
    assert [line.split(",")[0] for line in table.read_text().splitlines()] == [
        "concept", "first", "first", "<b>unlike</b>", "<b>unlike</b>",
    ]  # fmt: skip
    assert "  0 of 2 concepts found in A, 0 of 2 concepts found in B" in list(describe(written))


def test_an_interrupted_call_resumes_without_asking_again(study: Study) -> None:
    with pytest.raises(KeyboardInterrupt):
        study.literature(CONCEPTS, scorer=Yes(most=7), settings=SETTINGS)
    rest, again = Yes(), Yes()
    study.literature(CONCEPTS, scorer=rest, settings=SETTINGS)
    study.literature(CONCEPTS, scorer=again, settings=SETTINGS)
    assert 0 < rest.asked <= 2 * 20 * 2 - 7
    assert again.asked == 0


def test_the_plan_comes_first_is_an_upper_bound_and_can_be_declined(study: Study) -> None:
    scorer, plans = Yes(), []

    def decline(plan: ScoringPlan) -> bool:
        plans.append(plan)
        return False

    def embed(texts: list[str]) -> list[list[float]]:
        raise AssertionError("embedded before the plan was agreed to")

    options = {"settings": SETTINGS, "prices": TokenPrices(10.0, 100.0), "embed": embed}
    with pytest.raises(UniversalityError, match="as you decided; nothing was asked"):
        study.literature(CONCEPTS, scorer=scorer, confirm=decline, **options)
    assert scorer.asked == 0
    (plan,) = plans
    assert plan.needs_consent
    assert str(plan).startswith("2 published concepts searched for among the labelled features of A and B\nscorer: yes")
    study.literature(CONCEPTS, scorer=scorer, settings=SETTINGS)
    assert scorer.asked <= plan.tokens.prompts <= 2 * 2 * 20 * 2  # the second concept resembles no label


def test_embeddings_of_another_machine_need_consent(study: Study) -> None:
    server, plans = Endpoint("embedder", "https://example.org/v1"), []
    with pytest.raises(UniversalityError, match="as you decided"):
        study.literature(CONCEPTS, scorer=Yes(), settings=SETTINGS, embed=server.embed, confirm=plans.append)
    assert plans[0].needs_consent
    assert "embeddings of 54 texts by embedder; prompts, which hold" in str(plans[0])


def test_some_of_many_and_another_file(study: Study, tmp_path: Path) -> None:
    many = [Concept(f"c{i}", f"word {i}") for i in range(30)]
    made = study.literature(many, scorer=Yes(), settings=SETTINGS, most=3, out=tmp_path / "mine.json")
    assert len({one.concept for one in made.comparison.results}) == 3
    assert made.files == (tmp_path / "mine.json", tmp_path / "mine.csv")
    with pytest.raises(UniversalityError, match=r"mine\.txt: expected a name that ends in \.json"):
        study.literature(CONCEPTS, scorer=Yes(), settings=SETTINGS, out=tmp_path / "mine.txt")


def test_what_lacks_labels_is_refused(study: Study) -> None:
    with pytest.raises(UniversalityError, match=r"expected at least 105, shortlist x \(replicates \+ 1\)"):
        study.literature(CONCEPTS, scorer=Yes())
    file = next((study.folder / "labels").glob("B.*.jsonl"))
    header, *lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = json.loads(header)
    changed["settings"]["score_top"] = 3
    file.write_text(json.dumps(changed) + "\n" + "".join(lines), encoding="utf-8")
    with Study.open(study.folder) as other, pytest.raises(MismatchError, match="A and B were made with different"):
        other.literature(CONCEPTS, scorer=Yes(), settings=SETTINGS)
    shutil.rmtree(study.folder / "labels")
    with (
        Study.open(study.folder) as other,
        pytest.raises(UniversalityError, match=r"`universality label .* makes them"),
    ):
        other.literature(CONCEPTS, scorer=Yes(), settings=SETTINGS)


def test_the_command_names_what_it_needs(labelled: Path, tmp_path: Path) -> None:
    unnamed = call_here("literature", labelled)
    assert unnamed.returncode == 2
    assert "scorer: expected --model" in unnamed.stderr
    away = call_here("literature", labelled, "--model", "m", "--url", "http://127.0.0.1:9/v1")
    assert away.returncode == 2
    assert "127.0.0.1:9" in away.stderr
    missing = call_here("literature", labelled, tmp_path / "none.csv", "--model", "m")
    assert "none.csv: no such file or folder of published explanations" in missing.stderr
    local = call_here("literature", labelled, "--local", "m", "--embed-model", "e")
    assert local.returncode == 2
