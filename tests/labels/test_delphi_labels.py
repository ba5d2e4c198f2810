"""Results of delphi: explanations and scores are read, ours are read back, and hostile folders are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.labels.test_neuronpedia_labels import LABELS
from universality.errors import FormatError, UniversalityError
from universality.labels import delphi_labels, read_delphi, write_delphi


def judged(activating: Any, prediction: Any) -> dict[str, Any]:
    correct = None if prediction is None else prediction == activating
    return {
        "str_tokens": ["a", " b"],
        "activations": [0.0, 1.5],
        "distance": 1,
        "activating": activating,
        "prediction": prediction,
        "probability": None,
        "correct": correct,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for scorer in ("detection", "fuzz"):
        (folder / "scores" / scorer).mkdir(parents=True)
    (folder / "explanations").mkdir()
    (folder / "run_config.json").write_text(
        json.dumps({"model": "EleutherAI/pythia-70m", "sparse_model": "EleutherAI/sae-70m", "explainer_model": "llama"})
    )
    for index, text in ((10, "dates"), (2, " names\n"), (3, "")):
        (folder / "explanations" / f"layers.3.mlp_latent{index}.txt").write_text(json.dumps(text))
    examples = [judged(True, True), judged(True, 0), judged(False, False), judged(False, None)]
    (folder / "scores" / "detection" / "layers.3.mlp_latent10.txt").write_text(json.dumps(examples))
    (folder / "scores" / "fuzz" / "layers.3.mlp_latent10.txt").write_text(json.dumps(examples[:2]))
    (folder / "scores" / "fuzz" / "layers.3.mlp_latent2.txt").write_text(json.dumps({"score": 0.5}))
    (folder / "scores" / "fuzz" / "layers.3.mlp_latent7.txt").write_text(json.dumps(examples))
    return folder


def test_explanations_and_scores(results: Path) -> None:
    published = read_delphi(results)
    assert [(one.feature, one.explanation) for one in published.labels] == [(2, "names"), (10, "dates")]
    assert {(one.model, one.site, one.sae, one.explainer) for one in published.labels} == {
        ("EleutherAI/pythia-70m", "layers.3.mlp", "EleutherAI/sae-70m", "llama")
    }
    assert published.labels[0].scores == {}
    assert published.labels[1].scores == {"detection": 0.75}
    assert published.left_out == {
        "explanation without a text": 1,
        "example that the scorer did not judge": 2,
        "score without judged examples of both kinds": 1,
        "score of another form": 1,
        "score of a feature without an explanation": 1,
    }
    assert read_delphi(results, model="mine", sae="other").labels[0].model == "mine"


def test_what_delphi_writes_in_place_of_an_explanation_is_none(results: Path) -> None:
    for feature, text in ((7, '"Explanation could not be parsed."'), (8, "null")):
        (results / "explanations" / f"layers.3.mlp_latent{feature}.txt").write_text(text)
        score = [{"activating": truth, "prediction": truth, "str_tokens": ["a"]} for truth in (True, False)]
        (results / "scores" / "fuzz" / f"layers.3.mlp_latent{feature}.txt").write_text(json.dumps(score))
    published = read_delphi(results)
    assert not {7, 8} & {one.feature for one in published.labels}
    assert published.left_out["explanation that delphi could not parse"] == 1
    assert published.left_out["explanation without a text"] >= 1


def test_probabilities_count_as_delphi_counts_them(results: Path) -> None:
    answers = ((True, 0.9), (True, 0.4), (False, 0.5), (False, 0.1), (False, 3), (True, None))
    score = [{"activating": truth, "prediction": answer} for truth, answer in answers]
    before = read_delphi(results).left_out.get("example that the scorer did not judge", 0)
    (results / "scores" / "fuzz" / "layers.3.mlp_latent2.txt").write_text(json.dumps(score))
    published = read_delphi(results)
    (label,) = (one for one in published.labels if one.feature == 2)
    assert label.scores["fuzz"] == 0.5
    assert published.left_out["example that the scorer did not judge"] <= before + 2


def test_links_and_other_files_are_counted_and_not_followed(results: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text('"secret"')
    (results / "explanations" / "layers.3.mlp_latent4.txt").symlink_to(secret)
    (results / "explanations" / "notes.txt").write_text("x")
    (results / "scores" / "linked").symlink_to(tmp_path)
    published = read_delphi(results)
    assert len(published) == 2
    assert published.left_out["link or folder among the files"] == 2
    assert published.left_out["file that is not named MODULE_latentINDEX.txt"] == 1


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = write_delphi(tmp_path / "new", LABELS, module="layers.6.mlp", model="gpt2", sae="mine")
    published = read_delphi(folder)
    assert [(one.feature, one.explanation) for one in published.labels] == [
        (1, "dates, ע and \\udcd7"),
        (5, "names"),
    ]
    one = published.labels[0]
    assert (one.model, one.site, one.sae, one.explainer) == ("gpt2", "layers.6.mlp", "mine", "llama3.2")
    assert published.left_out == {}
    with pytest.raises(UniversalityError, match="holds explanations already"):
        write_delphi(folder, LABELS, module="layers.6.mlp")


@pytest.mark.parametrize("module", ["../x", "a/b", "", ".hidden", "a\0b", "x" * 300])
def test_modules_that_lead_out_of_the_folder_are_refused(tmp_path: Path, module: str) -> None:
    with pytest.raises(UniversalityError, match="module: expected letters"):
        write_delphi(tmp_path / "new", LABELS, module=module)
    assert not list(tmp_path.iterdir())


def test_hostile_folders_are_refused(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = results / "explanations" / "layers.3.mlp_latent2.txt"
    for content, message in (
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('["a"]', "expected a JSON string, found list"),
        ("\udcff", "cannot be read as JSON"),
    ):
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(FormatError, match=rf"latent2.txt: {message}"):
            read_delphi(results)
    path.write_text('"names"')
    (results / "run_config.json").write_text('{"model": 3}')
    with pytest.raises(FormatError, match="model must be a string"):
        read_delphi(results)
    with pytest.raises(FormatError, match="expected the folder of delphi's results"):
        read_delphi(results / "scores")
    (results / "run_config.json").unlink()
    assert read_delphi(results).labels[0].model == ""
    monkeypatch.setattr(delphi_labels, "LARGEST_FILE", 5)
    with pytest.raises(FormatError, match="expected at most 5"):
        read_delphi(results)
